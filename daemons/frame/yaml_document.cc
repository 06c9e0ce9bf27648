#include "daemons/frame/yaml_document.h"

#include <charconv>
#include <optional>

#include "daemons/frame/yaml_builder.h"

namespace culvert::frame {
namespace {

using nlohmann::json;

constexpr std::size_t kMaxNodes = kMaxYamlBytes;  // none is shorter than a byte

bool isDecimal(std::string_view text) {
  if (text.starts_with('-')) text.remove_prefix(1);
  if (text.empty() || (text.size() > 1 && text[0] == '0')) return false;
  return text.find_first_not_of("0123456789") == std::string_view::npos;
}

template <class Integer>
std::optional<json> readInteger(std::string_view text) {
  Integer value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return json(value);
}

json plainScalar(const std::string& text) {
  if (text == "true" || text == "True" || text == "TRUE") return true;
  if (text == "false" || text == "False" || text == "FALSE") return false;
  if (!isDecimal(text)) return text;
  if (auto value = readInteger<std::int64_t>(text)) return *value;
  if (auto value = readInteger<std::uint64_t>(text)) return *value;
  return text;
}

class Reader final : public YamlBuilder {
 public:
  explicit Reader(YamlDocument& document)
      : YamlBuilder({.depth = kMaxYamlDepth, .nodes = kMaxNodes, .aliases = false}),
        document_(&document) {}

 private:
  Result<json> scalar(const std::string& tag, const std::string& text) override {
    const bool quoted = tag == "!" || tag == "tag:yaml.org,2002:str";
    if (!quoted && tag != "?") return makeError(Errc::kDecode, "tags are not supported");
    return quoted ? json(text) : plainScalar(text);
  }
  Result<void> begin() override {
    if (documents_++ > 0) return makeError(Errc::kDecode, "a second document");
    return {};
  }
  void document(json&& root, unsigned) override { document_->root = std::move(root); }
  Result<void> twice(const std::string& key, unsigned line) override {
    document_->duplicates.emplace_back(childPath(path(), key), line);
    return {};
  }

  void placed(const std::string& key, unsigned line) override {
    note(childPath(path(), key), line);
  }
  void placed(std::size_t index, unsigned line) override {
    note(path() + "[" + std::to_string(index) + "]", line);
  }
  void opened() override { open_.push_back(std::exchange(last_, {})); }
  void closed() override { open_.pop_back(); }

  std::string path() const { return open_.empty() ? "" : open_.back(); }
  void note(std::string path, unsigned line) {
    document_->lines.try_emplace(path, line);
    last_ = std::move(path);
  }

  YamlDocument* document_;
  std::vector<std::string> open_;  // paths of what is being read
  std::string last_;               // of the value placed last
  int documents_ = 0;
};

Error notYaml(unsigned line, const std::string& why) {
  return makeError(Errc::kDecode, std::to_string(line) + ": not usable YAML: " + why);
}

}  // namespace

std::string childPath(const std::string& parent, const std::string& key) {
  return parent.empty() ? key : parent + "." + key;
}

Result<YamlDocument> parseYaml(std::string_view text) {
  if (text.size() > kMaxYamlBytes) {
    return notYaml(1, "longer than " + std::to_string(kMaxYamlBytes) + " bytes");
  }
  YamlDocument document;
  if (const auto fault = Reader(document).read(text)) return notYaml(fault->line, fault->what);
  if (document.root.is_null()) document.root = json::object();
  return document;
}

}  // namespace culvert::frame
