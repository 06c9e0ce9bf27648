#include "daemons/sources/yaml.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>

#include "daemons/frame/yaml_builder.h"
#include "daemons/sources/json_parse.h"

namespace culvert::sources {

using nlohmann::json;

namespace {

constexpr std::size_t kMaxDepth = 64;
constexpr std::size_t kMaxNodes = 1000000;

Error at(int line, const std::string& what) {
  return makeError(Errc::kDecode, std::to_string(std::max(line, 1)) + ": " + what);
}

template <class T>
bool whole(std::string_view text, T& value, int base) {
  const char* end = text.data() + text.size();
  const auto done = std::from_chars(text.data(), end, value, base);
  return done.ec == std::errc() && done.ptr == end;
}

/// YAML 1.2 section 10.3.2, "Tag Resolution", without the infinities.
json typed(const std::string& text) {
  if (text.empty() || text == "~" || text == "null" || text == "Null" || text == "NULL") {
    return nullptr;
  }
  if (text == "true" || text == "True" || text == "TRUE") return true;
  if (text == "false" || text == "False" || text == "FALSE") return false;
  std::int64_t integer = 0;
  if (text.starts_with("0x") && whole(std::string_view(text).substr(2), integer, 16))
    return integer;
  if (text.starts_with("0o") && whole(std::string_view(text).substr(2), integer, 8)) return integer;
  if (whole(text, integer, 10)) return integer;
  double real = 0;
  const char* end = text.data() + text.size();
  if (text.find_first_not_of("0123456789+-.eE") == std::string::npos) {
    const auto done = std::from_chars(text.data(), end, real);
    if (done.ec == std::errc() && done.ptr == end) return real;
  }
  return text;
}

class Manifest final : public frame::YamlBuilder {
 public:
  Manifest() : YamlBuilder({.depth = kMaxDepth, .nodes = kMaxNodes, .aliases = true}) {}
  std::vector<Document> take() { return std::move(documents_); }

 private:
  Result<json> scalar(const std::string& tag, const std::string& text) override {
    return tag == "?" ? typed(text) : json(text);
  }
  void document(json&& root, unsigned line) override {
    if (root.is_null()) return;
    const std::uint64_t digest = digestOf(root);
    documents_.push_back({std::move(root), static_cast<int>(line), digest});
  }
  Result<void> twice(const std::string& key, unsigned) override {
    return makeError(Errc::kDecode, "\"" + key + "\" twice");
  }

  std::vector<Document> documents_;
};

}  // namespace

Result<std::vector<Document>> parseYaml(const std::string& text) {
  Manifest manifest;
  if (const auto fault = manifest.read(text))
    return at(static_cast<int>(fault->line), (fault->refused ? "" : "not YAML: ") + fault->what);
  return manifest.take();
}

Result<std::vector<Document>> parseJsonFile(const std::string& text) {
  auto parsed = parseItems(text);
  if (!parsed) {
    // nlohmann says "line N, column M" within its message.
    const std::string& message = parsed.error().message;
    const std::size_t word = message.find("at line ");
    return at(word == std::string::npos ? 1 : std::atoi(message.c_str() + word + 8), message);
  }
  std::vector<Document> documents;
  documents.reserve(parsed->size());
  for (Digested& each : *parsed)
    documents.push_back({std::move(each.value), 1, each.digest});
  return documents;
}

}  // namespace culvert::sources
