#include "daemons/objects/secret.h"

#include <nlohmann/json.hpp>

#include "cni/config_reader.h"
#include "daemons/objects/base64.h"

namespace culvert::objects {

Result<Secret> Secret::parse(const nlohmann::json& object) {
  cni::Problems problems;
  const cni::ConfigReader reader(object, "", problems);
  Secret secret;
  for (const auto& [name, text] : reader.stringMap("data")) {
    auto value = decodeBase64(text);
    if (value)
      secret.data[name] = *std::move(value);
    else
      problems.add("data." + name, "is not base64");  // the value itself is nobody's business
  }
  for (const auto& [name, text] : reader.stringMap("stringData"))
    secret.data[name] = text;
  TRY(problems.take());
  return secret;
}

}  // namespace culvert::objects
