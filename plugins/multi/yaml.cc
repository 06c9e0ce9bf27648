#include "plugins/multi/yaml.h"

#include <yaml.h>

#include <charconv>

#include "cni/json.h"

namespace culvert::plugins::multi {
namespace {

using nlohmann::json;

constexpr std::size_t kMaxBytes = 1U << 20;

class Parser {
 public:
  explicit Parser(const std::string& text) {
    ok_ = yaml_parser_initialize(&parser_) != 0;
    if (ok_)
      yaml_parser_set_input_string(&parser_, reinterpret_cast<const unsigned char*>(text.data()),
                                   text.size());
  }
  Parser(const Parser&) = delete;
  Parser& operator=(const Parser&) = delete;
  ~Parser() {
    if (hasEvent_) yaml_event_delete(&event_);
    yaml_parser_delete(&parser_);
  }

  /// The next event, valid until the one after it.
  Result<const yaml_event_t*> next() {
    if (hasEvent_) yaml_event_delete(&event_);
    hasEvent_ = ok_ && yaml_parser_parse(&parser_, &event_) != 0;
    if (hasEvent_) return &event_;
    const char* problem = parser_.problem == nullptr ? "no memory" : parser_.problem;
    return makeError(
        Errc::kDecode,
        "not valid YAML: line " + std::to_string(parser_.problem_mark.line + 1) + ": " + problem);
  }

 private:
  yaml_parser_t parser_{};
  yaml_event_t event_{};
  bool ok_ = false, hasEvent_ = false;
};

json scalarOf(const yaml_event_t& event) {
  const auto& scalar = event.data.scalar;
  std::string text(reinterpret_cast<const char*>(scalar.value), scalar.length);
  if (scalar.style != YAML_PLAIN_SCALAR_STYLE || scalar.plain_implicit == 0) return text;
  if (text.empty() || text == "~" || text == "null" || text == "Null" || text == "NULL") return {};
  if (text == "true" || text == "True" || text == "TRUE") return true;
  if (text == "false" || text == "False" || text == "FALSE") return false;
  std::int64_t number = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  if (error == std::errc() && stop == end) return number;
  return text;
}

class Composer {
 public:
  explicit Composer(const std::string& text) : parser_(text) {}

  Result<std::vector<json>> documents() {
    std::vector<json> all;
    for (;;) {
      const yaml_event_type_t type = TRY(parser_.next())->type;
      if (type == YAML_STREAM_END_EVENT) return all;
      if (type != YAML_DOCUMENT_START_EVENT) continue;
      const yaml_event_t* root = TRY(parser_.next());
      all.push_back(TRY(compose(*root, 0)));
    }
  }

 private:
  Result<json> compose(const yaml_event_t& event, int depth) {
    if (depth > cni::kMaxJsonDepth)
      return makeError(Errc::kDecode, "the YAML document nests too deep");
    switch (event.type) {
      case YAML_SCALAR_EVENT:
        TRY(refuseAnchor(event.data.scalar.anchor));
        return scalarOf(event);
      case YAML_SEQUENCE_START_EVENT:
        TRY(refuseAnchor(event.data.sequence_start.anchor));
        return composeList(depth);
      case YAML_MAPPING_START_EVENT:
        TRY(refuseAnchor(event.data.mapping_start.anchor));
        return composeMap(depth);
      default:
        return makeError(Errc::kDecode, "the YAML document has an alias in it");
    }
  }

  static Result<void> refuseAnchor(const unsigned char* anchor) {
    if (anchor == nullptr) return {};
    return makeError(Errc::kDecode, "the YAML document has an anchor in it");
  }

  Result<json> composeList(int depth) {
    json list = json::array();
    for (;;) {
      const yaml_event_t* item = TRY(parser_.next());
      if (item->type == YAML_SEQUENCE_END_EVENT) return list;
      list.push_back(TRY(compose(*item, depth + 1)));
    }
  }

  Result<json> composeMap(int depth) {
    json object = json::object();
    for (;;) {
      const yaml_event_t* key = TRY(parser_.next());
      if (key->type == YAML_MAPPING_END_EVENT) return object;
      if (key->type != YAML_SCALAR_EVENT)
        return makeError(Errc::kDecode, "a key of the YAML document is no text");
      const auto& scalar = key->data.scalar;
      const std::string name(reinterpret_cast<const char*>(scalar.value), scalar.length);
      const yaml_event_t* value = TRY(parser_.next());
      object[name] = TRY(compose(*value, depth + 1));
    }
  }

  Parser parser_;
};

}  // namespace

Result<std::vector<json>> parseYaml(const std::string& text) {
  if (text.size() > kMaxBytes) return makeError(Errc::kDecode, "the YAML file is too large");
  return Composer(text).documents();
}

}  // namespace culvert::plugins::multi
