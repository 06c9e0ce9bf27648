// What sources read: lists and watch streams in pieces, YAML manifests, selectors, what pods wish.

#include <nlohmann/json.hpp>

#include "daemons/objects/pod.h"
#include "daemons/sources/json_splitter.h"
#include "daemons/sources/selector.h"
#include "daemons/sources/yaml.h"
#include "fuzz/check.h"

using namespace culvert;
using namespace culvert::sources;
using fuzz::check;

namespace {

struct Outcome {
  std::string objects;
  bool good = true;
  bool operator==(const Outcome&) const = default;
};

Outcome split(std::string_view text, std::size_t step, bool isList) {
  Outcome outcome;
  const auto sink = [&](nlohmann::json&& object) -> Result<void> {
    outcome.objects += object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    return {};
  };
  auto splitter = isList ? JsonSplitter::list("items", sink) : JsonSplitter::stream(sink);
  for (std::size_t at = 0; at < text.size() && outcome.good; at += step) {
    outcome.good = splitter.push(text.substr(at, step)).has_value();
  }
  outcome.good = outcome.good && splitter.finish().has_value();
  return outcome;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(fuzz::asText(data, size));
  for (const bool isList : {true, false}) {
    const Outcome whole = split(text, text.size() + 1, isList);
    check(split(text, 1, isList) == whole, "pieces give the same", text);
    check(split(text, 7, isList) == whole, "pieces give the same", text);
    if (isList && whole.good) check(nlohmann::json::accept(text), "only JSON is a list", text);
  }
  (void)parseYaml(text);
  (void)parseJsonFile(text);
  (void)Selector::parse({objects::kPod, "", "", text});
  (void)objects::PodWishes::parse(
      {{"metadata",
        {{"name", "p"}, {"annotations", {{objects::annotations::kPodAddresses, text}}}}}});
  return 0;
}
