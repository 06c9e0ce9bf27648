#include "cni/error.h"

#include <nlohmann/json.hpp>

namespace culvert::cni {

using nlohmann::json;

int wireCode(const Error& error) {
  switch (error.code) {
    case Errc::kIncompatibleVersion:
      return 1;
    case Errc::kUnsupportedField:
      return 2;
    case Errc::kUnknownContainer:
      return 3;
    case Errc::kInvalidEnvironment:
      return 4;
    case Errc::kDecode:
      return 6;
    case Errc::kInvalidConfig:
      return 7;
    case Errc::kInvalidNetns:
      return 8;
    case Errc::kTryAgain:
    case Errc::kConflict:
      return 11;
    case Errc::kNotAvailable:
      return 50;
    case Errc::kLimited:
      return 51;
    case Errc::kCheckFailed:
      return 100;
    case Errc::kExhausted:
      return 101;
    case Errc::kForeign:
      return error.foreignCode;
    case Errc::kIo:
    case Errc::kNotFound:
    case Errc::kAlreadyExists:
      break;
  }
  return 5;
}

std::string renderError(const Error& error, Version version) {
  json object = {
      {"cniVersion", versionText(version)}, {"code", wireCode(error)}, {"msg", error.message}};
  if (!error.details.empty()) object["details"] = error.details;
  return object.dump(4, ' ', false, json::error_handler_t::replace);
}

Error parseDelegateError(const std::string& plugin, const std::string& out, int exitStatus) {
  const json object = json::parse(out, nullptr, false);
  if (!object.is_object() || !object.contains("msg") || !object["msg"].is_string()) {
    return makeError(Errc::kIo, plugin + ": exited with status " + std::to_string(exitStatus) +
                                    " and no error message");
  }
  Error error = makeError(Errc::kForeign, plugin + ": " + object["msg"].get<std::string>());
  error.foreignCode = 999;
  if (object.contains("code") && object["code"].is_number_integer()) {
    const auto code = object["code"].get<std::int64_t>();
    if (code > 0 && code <= INT32_MAX) error.foreignCode = static_cast<int>(code);
  }
  if (object.contains("details") && object["details"].is_string()) {
    error.details = object["details"].get<std::string>();
  }
  return error;
}

}  // namespace culvert::cni
