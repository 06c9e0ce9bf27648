#pragma once

#include <cstddef>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/result.h"

namespace culvert::sources {

/// Takes JSON in whatever pieces it arrives and hands out one object at a time, so that a list of
/// any length costs the memory of its largest element. kDecode for what is not JSON, too deep or
/// too large; after an error the splitter is spent.
class JsonSplitter {
 public:
  struct Limits {
    std::size_t objectBytes = 8U << 20;  // one element's text
    std::size_t restBytes = 1U << 20;    // the text of a list around its elements
    int depth = 64;
  };
  /// An error from it ends push() with that error.
  using Sink = std::function<Result<void>(nlohmann::json&&)>;

  /// Objects one after another, between them nothing but white space: a watch's answer.
  static JsonSplitter stream(Sink sink) { return stream(std::move(sink), Limits()); }
  static JsonSplitter stream(Sink sink, Limits limits) { return {{}, std::move(sink), limits}; }
  /// One object, of whose top-level array `arrayKey` the elements (objects, all of them) are
  /// handed out. The remainder is rest().
  static JsonSplitter list(std::string arrayKey, Sink sink) {
    return list(std::move(arrayKey), std::move(sink), Limits());
  }
  static JsonSplitter list(std::string arrayKey, Sink sink, Limits limits) {
    return {std::move(arrayKey), std::move(sink), limits};
  }

  Result<void> push(std::string_view bytes);
  /// The bytes have ended: an error if they did so within an object, or a list has not come at all.
  Result<void> finish();

  /// After finish(), of a list: the object with the array left empty.
  const nlohmann::json& rest() const { return rest_; }

 private:
  enum class Where { kBefore, kRest, kArray, kElement, kAfter };

  JsonSplitter(std::string arrayKey, Sink sink, Limits limits)
      : arrayKey_(std::move(arrayKey)), sink_(std::move(sink)), limits_(limits) {}

  Result<std::size_t> pushString(std::string_view bytes);
  Result<void> pushByte(char byte);
  Result<void> outside(char byte);
  Result<void> inRest(char byte);
  Result<void> inArray(char byte);
  Result<void> inElement(char byte);
  Result<void> open(char byte);
  Result<void> append(std::string_view bytes);
  Result<void> emit();
  bool isList() const { return !arrayKey_.empty(); }

  std::string arrayKey_;
  Sink sink_;
  Limits limits_;
  Where where_ = Where::kBefore;
  int depth_ = 0;  // within the element, or within the list around it
  bool inString_ = false;
  bool escaped_ = false;
  bool wantsElement_ = false;  // after a comma
  bool hadArray_ = false;
  std::size_t keyAt_ = 0;  // in text_: of the last string on a list's top level
  std::string key_;        // of the member whose value comes, on a list's top level
  std::string text_;       // of the list around its array
  std::string element_;
  nlohmann::json rest_;
};

}  // namespace culvert::sources
