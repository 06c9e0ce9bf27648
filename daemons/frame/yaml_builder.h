#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace culvert::frame {

/// Builds JSON while a YAML text is read, once and in bounded depth and size. Which YAML that is, a
/// subclass says: what scalars mean, and what becomes of documents.
class YamlBuilder {
 public:
  struct Limits {
    std::size_t depth;  // of lists and maps within each other
    std::size_t nodes;  // in all, those that aliases repeat included
    bool aliases;       // off: they are refused
  };
  /// What aliases may repeat, in bytes of text.
  static constexpr std::size_t kMaxRepeatedBytes = std::size_t{16} << 20;

  explicit YamlBuilder(Limits limits) : limits_(limits) {}
  virtual ~YamlBuilder() = default;

  struct Fault {
    unsigned line;  // from 1
    std::string what;
    bool refused;  // it is YAML, but not of this kind
  };
  /// Reads the whole text, or up to the first fault.
  std::optional<Fault> read(std::string_view text);

 protected:
  /// `tag` is "?" for a plain scalar, "!" for a quoted one (YAML 1.2.2 section 3.3.2). An error
  /// refuses it.
  virtual Result<nlohmann::json> scalar(const std::string& tag, const std::string& text) = 0;
  /// A document has begun; an error refuses it.
  virtual Result<void> begin() { return {}; }
  /// `line`: where its value begins.
  virtual void document(nlohmann::json&& root, unsigned line) = 0;
  /// A key that stands there twice. Unless this refuses it, the first one's value counts.
  virtual Result<void> twice(const std::string& key, unsigned line) = 0;

  /// Where values stand, for who wants to know: each is placed, and what is within a list or map
  /// comes between opened() and closed().
  virtual void placed(const std::string& /*key*/, unsigned /*line*/) {}
  virtual void placed(std::size_t /*index*/, unsigned /*line*/) {}
  virtual void opened() {}
  virtual void closed() {}

 private:
  class Events;
  const Limits limits_;
};

}  // namespace culvert::frame
