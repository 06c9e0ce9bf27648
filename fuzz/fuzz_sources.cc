// What sources read: lists and watch streams in pieces, YAML manifests, selectors, what pods wish.

#include <nlohmann/json.hpp>

#include "cni/json.h"
#include "daemons/objects/pod.h"
#include "daemons/sources/json_parse.h"
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

/// The fast parser and the other one take the same, and make the same of it.
void checkParsers(const std::string& text) {
  const auto fast = parseJson(text);
  auto other = cni::parseJson(text);
  check(fast.has_value() == other.has_value(), "both parsers take it, or neither", text);
  if (!fast) return;
  if (other->is_object() && other->contains("metadata") && (*other)["metadata"].is_object())
    (*other)["metadata"].erase("managedFields");
  check(*fast == *other, "both parsers make the same of it", text);
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
  checkParsers(text);
  (void)parseYaml(text);
  (void)parseJsonFile(text);
  (void)Selector::parse({objects::kPod, "", "", text});
  (void)objects::PodWishes::parse(
      {{"metadata",
        {{"name", "p"}, {"annotations", {{objects::annotations::kPodAddresses, text}}}}}});
  return 0;
}
