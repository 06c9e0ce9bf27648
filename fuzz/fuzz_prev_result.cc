// prevResult and a delegate's output: read in one version, written in every version, read back.

#include <nlohmann/json.hpp>

#include "cni/json.h"
#include "cni/result_json.h"
#include "fuzz/check.h"

using namespace culvert;
using fuzz::check;

namespace {

cni::AddResult readBack(const std::string& text, cni::Version version) {
  const auto object = cni::parseJson(text);
  check(object.has_value(), "what we write is JSON", text);
  cni::Problems problems;
  cni::AddResult result = cni::parseResult(*object, version, "again", problems);
  const auto outcome = problems.take();
  check(outcome.has_value(), "what we write we accept",
        text + "\n" + (outcome ? "" : outcome.error().message));
  return result;
}

/// Once written in a version, a result does not change any more in that version.
void convert(const cni::AddResult& result, cni::Version version) {
  const auto text = cni::renderResult(result, version);
  if (!text) {
    check(text.error().code == Errc::kUnsupportedField && version <= cni::Version::k020,
          "only 0.1.0 and 0.2.0 cannot say everything", text.error().message);
    return;
  }
  const auto again = cni::renderResult(readBack(*text, version), version);
  check(again.has_value() && *again == *text, "the same twice", *text);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(fuzz::asText(data, size));
  (void)cni::parseDelegateResult(text, cni::kNewest);
  const auto object = cni::parseJson(text);
  if (!object) return 0;
  for (int from = 0; from <= static_cast<int>(cni::kNewest); ++from) {
    cni::Problems problems;
    const cni::AddResult result =
        cni::parseResult(*object, static_cast<cni::Version>(from), "prevResult", problems);
    if (!problems.take()) continue;
    for (int to = 0; to <= static_cast<int>(cni::kNewest); ++to) {
      convert(result, static_cast<cni::Version>(to));
    }
    if (from == static_cast<int>(cni::kNewest)) {
      const auto newest = cni::renderResult(result, cni::kNewest);
      check(newest && readBack(*newest, cni::kNewest) == result, "1.1.0 loses nothing", text);
    }
  }
  return 0;
}
