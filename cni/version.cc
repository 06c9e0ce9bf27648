#include "cni/version.h"

#include <algorithm>

namespace culvert::cni {

std::optional<Version> parseVersion(std::string_view text) {
  const auto found = std::find(kVersionTexts.begin(), kVersionTexts.end(), text);
  if (found == kVersionTexts.end()) return std::nullopt;
  return static_cast<Version>(found - kVersionTexts.begin());
}

std::string_view versionText(Version version) {
  return kVersionTexts.at(static_cast<std::size_t>(version));
}

std::string versionList(Version oldest) {
  std::string list;
  for (auto i = static_cast<std::size_t>(oldest); i < kVersionTexts.size(); ++i) {
    list += (list.empty() ? "[\"" : ",\"") + std::string(kVersionTexts.at(i)) + '"';
  }
  return list + ']';
}

}  // namespace culvert::cni
