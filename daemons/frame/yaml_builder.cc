#include "daemons/frame/yaml_builder.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <istream>
#include <map>
#include <streambuf>
#include <utility>
#include <vector>

namespace culvert::frame {
namespace {

using nlohmann::json;

/// Reads from memory that somebody else owns.
class ViewBuffer : public std::streambuf {
 public:
  explicit ViewBuffer(std::string_view text) {
    char* begin = const_cast<char*>(text.data());  // std::streambuf's signature; only read
    setg(begin, begin, begin + text.size());
  }
};

unsigned lineOf(const YAML::Mark& mark) {
  return mark.is_null() ? 1 : static_cast<unsigned>(mark.line) + 1;
}

/// The way out of yaml-cpp's parser: read() catches it.
struct Refusal {
  unsigned line;
  std::string what;
};

}  // namespace

class YamlBuilder::Events final : public YAML::EventHandler {
 public:
  explicit Events(YamlBuilder& owner) : owner_(owner) {}

  /// yaml-cpp 0.7 goes on for ever with a document that it cannot begin: ",x". Each must begin
  /// behind the one before.
  void OnDocumentStart(const YAML::Mark& mark) override {
    if (documents_++ > 0 && mark.pos <= last_) refuse(mark, "unexpected character");
    last_ = mark.pos;
    accept(mark, owner_.begin());
    anchors_.clear();
    rootLine_ = lineOf(mark);
  }
  void OnDocumentEnd() override { owner_.document(std::exchange(root_, json()), rootLine_); }

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override { add(mark, anchor, json()); }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& text) override {
    if (expectsKey()) return readKey(mark, tag, text);
    auto value = owner_.scalar(tag, text);
    if (!value) refuse(mark, value.error().message);
    add(mark, anchor, *std::move(value), text.size());
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    if (!owner_.limits_.aliases) refuse(mark, "aliases are not supported: write the value out");
    const auto found = anchors_.find(anchor);
    if (found == anchors_.end()) refuse(mark, "an alias within what it repeats");
    const Anchored& again = found->second;
    place(mark);
    count(mark, again.size.nodes - 1);
    if (levels_.size() + again.height > owner_.limits_.depth) refuse(mark, "nested too deeply");
    repeated_ += again.size.bytes;
    if (repeated_ > kMaxRepeatedBytes) refuse(mark, "too much that aliases repeat");
    size_.bytes += again.size.bytes;
    finish(json(again.value), again.height);
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(mark, anchor, json::array());
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(mark, anchor, json::object());
  }
  void OnMapEnd() override { close(); }

 private:
  struct Size {
    std::size_t nodes = 0;
    std::size_t bytes = 0;  // of scalars and keys
  };
  struct Level {  // a list or map that is being read
    json value;
    YAML::anchor_t anchor;
    Size before;  // when it began
    std::size_t height = 1;
    std::optional<std::string> key;  // of a map: read, and its value not yet
    unsigned keyLine = 0;
  };
  struct Anchored {
    json value;
    Size size;
    std::size_t height;
  };

  [[noreturn]] static void refuse(const YAML::Mark& mark, std::string what) {
    throw Refusal{lineOf(mark), std::move(what)};
  }
  static void accept(const YAML::Mark& mark, const Result<void>& result) {
    if (!result) refuse(mark, result.error().message);
  }

  bool expectsKey() const {
    return !levels_.empty() && levels_.back().value.is_object() && !levels_.back().key;
  }

  void count(const YAML::Mark& mark, std::size_t nodes) {
    size_.nodes += nodes;
    if (size_.nodes > owner_.limits_.nodes) refuse(mark, "too many nodes");
  }

  void readKey(const YAML::Mark& mark, const std::string& tag, const std::string& text) {
    if (tag != "?" && tag != "!") {
      if (const auto value = owner_.scalar(tag, text); !value) refuse(mark, value.error().message);
    }
    Level& level = levels_.back();
    level.keyLine = lineOf(mark);
    size_.bytes += text.size();
    if (level.value.contains(text)) accept(mark, owner_.twice(text, level.keyLine));
    level.key = text;
  }

  /// Before each value: it goes into the list, or under the key read last.
  void place(const YAML::Mark& mark) {
    if (expectsKey()) refuse(mark, "a key that is no scalar");
    count(mark, 1);
    if (levels_.empty()) {
      rootLine_ = lineOf(mark);
    } else if (const Level& level = levels_.back(); level.key) {
      owner_.placed(*level.key, level.keyLine);
    } else {
      owner_.placed(level.value.size(), lineOf(mark));
    }
  }

  void add(const YAML::Mark& mark, YAML::anchor_t anchor, json&& value, std::size_t bytes = 0) {
    place(mark);
    size_.bytes += bytes;
    remember(mark, anchor, value, {1, bytes}, 0);
    finish(std::move(value), 0);
  }

  void open(const YAML::Mark& mark, YAML::anchor_t anchor, json&& empty) {
    if (levels_.size() >= owner_.limits_.depth) refuse(mark, "nested too deeply");
    const Size before = size_;
    place(mark);
    owner_.opened();
    levels_.push_back({std::move(empty), anchor, before});
  }

  void close() {
    owner_.closed();
    Level done = std::move(levels_.back());
    levels_.pop_back();
    remember(YAML::Mark::null_mark(), done.anchor, done.value,
             {size_.nodes - done.before.nodes, size_.bytes - done.before.bytes}, done.height);
    finish(std::move(done.value), done.height);
  }

  void remember(const YAML::Mark& mark, YAML::anchor_t anchor, const json& value, Size size,
                std::size_t height) {
    if (anchor == YAML::NullAnchor || !owner_.limits_.aliases) return;
    anchored_ += size.nodes;
    if (anchored_ > owner_.limits_.nodes) refuse(mark, "too much that has anchors");
    anchors_.insert_or_assign(anchor, Anchored{value, size, height});
  }

  /// `height`: levels within the value.
  void finish(json&& value, std::size_t height) {
    if (levels_.empty()) {
      root_ = std::move(value);
      return;
    }
    Level& level = levels_.back();
    level.height = std::max(level.height, height + 1);
    if (level.key)  // the first one stays
      level.value.emplace(*std::exchange(level.key, std::nullopt), std::move(value));
    else
      level.value.push_back(std::move(value));
  }

  YamlBuilder& owner_;
  std::vector<Level> levels_;
  json root_;
  unsigned rootLine_ = 1;
  std::map<YAML::anchor_t, Anchored> anchors_;
  Size size_;
  std::size_t anchored_ = 0;  // nodes kept for aliases
  std::size_t repeated_ = 0;  // bytes that aliases repeat
  int documents_ = 0;
  int last_ = 0;
};

std::optional<YamlBuilder::Fault> YamlBuilder::read(std::string_view text) {
  try {
    ViewBuffer buffer(text);
    std::istream stream(&buffer);
    YAML::Parser parser(stream);
    Events events(*this);
    while (parser.HandleNextDocument(events)) {
    }
  } catch (const Refusal& refusal) {
    return Fault{refusal.line, refusal.what, true};
  } catch (const YAML::Exception& problem) {
    return Fault{lineOf(problem.mark), problem.msg, false};
  } catch (const std::exception& problem) {
    return Fault{1, problem.what(), false};
  }
  return std::nullopt;
}

}  // namespace culvert::frame
