#include "ipam/dhcp/protocol.h"

#include <array>
#include <utility>

#include "ipam/dhcp/bytes.h"
#include "ipam/dhcp/json_fields.h"

namespace culvert::ipam::dhcp {
namespace {

constexpr std::size_t kLengthBytes = 4;
constexpr std::array<std::pair<Method, std::string_view>, 5> kMethods{
    {{Method::kAllocate, "allocate"},
     {Method::kRelease, "release"},
     {Method::kLookUp, "look-up"},
     {Method::kCollect, "collect"},
     {Method::kPing, "ping"}}};

// The errors that a daemon has for a plugin; others arrive as kIo.
constexpr std::array<std::pair<Errc, std::string_view>, 6> kCodes{
    {{Errc::kIo, "io"},
     {Errc::kDecode, "decode"},
     {Errc::kInvalidConfig, "config"},
     {Errc::kInvalidEnvironment, "environment"},
     {Errc::kTryAgain, "try-again"},
     {Errc::kNotFound, "not-found"}}};

template <class Table, class Value>
std::string_view nameOf(const Table& table, Value value) {
  for (const auto& [each, name] : table) {
    if (each == value) return name;
  }
  return table.front().second;
}

std::string dumped(const json& object) {
  return object.dump(-1, ' ', false, json::error_handler_t::replace);
}

Result<Attachment> parseAttachment(const json& object) {
  Attachment attachment;
  attachment.containerId = TRY(textField(object, "containerId"));
  attachment.ifName = TRY(textField(object, "ifName"));
  return attachment;
}

}  // namespace

std::string renderRequest(const DaemonRequest& request) {
  json object{{"method", nameOf(kMethods, request.method)}};
  if (request.method == Method::kCollect) {
    object["network"] = request.network;
    object["valid"] = json::array();
    for (const Attachment& each : request.valid)
      object["valid"].push_back({{"containerId", each.containerId}, {"ifName", each.ifName}});
  } else if (request.method != Method::kPing) {
    object["order"] = toJson(request.order);
  }
  return dumped(object);
}

Result<DaemonRequest> parseRequest(std::string_view text) {
  const json object = json::parse(text, nullptr, false);
  if (!object.is_object()) return makeError(Errc::kDecode, "the request is no JSON object");
  const std::string name = TRY(textField(object, "method"));
  DaemonRequest request;
  bool known = false;
  for (const auto& [method, text_] : kMethods) {
    if (text_ == name) request.method = method, known = true;
  }
  if (!known) return makeError(Errc::kDecode, "no such method");
  if (request.method == Method::kCollect) {
    request.network = TRY(textField(object, "network"));
    if (findField(object, "valid") == nullptr) return badField("valid", "a list");
    for (const json& each : TRY(listField(object, "valid")))
      request.valid.push_back(TRY(parseAttachment(each)));
  } else if (request.method != Method::kPing) {
    const json* order = findField(object, "order");
    if (order == nullptr) return badField("order", "an object");
    request.order = TRY(parseOrder(*order));
  }
  return request;
}

std::string renderAnswer(const Result<Leases>& answer) {
  if (answer) return dumped({{"leases", toJson(*answer)}});
  return dumped({{"error",
                  {{"code", nameOf(kCodes, answer.error().code)},
                   {"message", answer.error().message},
                   {"details", answer.error().details}}}});
}

Result<Leases> parseAnswer(std::string_view text) {
  const json object = json::parse(text, nullptr, false);
  if (const json* error = findField(object, "error")) {
    const std::string name = TRY(textField(*error, "code"));
    const std::string message = TRY(textField(*error, "message"));
    Error said = makeError(Errc::kIo, message, TRY(textField(*error, "details")));
    for (const auto& [code, text_] : kCodes) {
      if (text_ == name) said.code = code;
    }
    return said;
  }
  const json* leases = findField(object, "leases");
  if (leases == nullptr) return makeError(Errc::kDecode, "the DHCP daemon's answer is none");
  return parseLeases(*leases);
}

std::string framed(std::string_view message) {
  std::string out;
  put32(out, static_cast<std::uint32_t>(message.size()));
  out += message;
  return out;
}

Result<std::optional<std::string_view>> unframed(std::string_view received, std::size_t maxBytes) {
  ByteReader reader(received);
  const auto length = reader.integer(kLengthBytes);
  if (!length) return std::optional<std::string_view>();
  if (*length > maxBytes) {
    return makeError(Errc::kDecode, "a message of " + std::to_string(*length) + " bytes");
  }
  return reader.take(*length);
}

}  // namespace culvert::ipam::dhcp
