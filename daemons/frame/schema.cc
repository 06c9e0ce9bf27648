#include "daemons/frame/schema.h"

#include <algorithm>
#include <cctype>
#include <numeric>

namespace culvert::frame {
namespace {

std::string withoutIndices(std::string_view path) {
  std::string plain;
  bool inside = false;
  for (const char c : path) {
    if (c == ']') inside = false;
    if (!inside) plain += c;
    if (c == '[') inside = true;
  }
  return plain;
}

char lower(char c) {
  return static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
}

/// Levenshtein's distance, one row at a time.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), 0U);
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = row[0]++;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t change = diagonal + (lower(a[i]) == lower(b[j]) ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({row[j] + 1, row[j + 1] + 1, change});
    }
  }
  return row.back();
}

std::string dashed(std::string_view path) {
  std::string name;
  for (const char c : path) {
    if (std::isupper(static_cast<unsigned char>(c)) != 0) name += '-';
    name += c == '.' ? '-' : lower(c);
  }
  return name;
}

}  // namespace

void Schema::add(const std::vector<Key>& keys) {
  for (const Key& key : keys)
    keys_.insert_or_assign(key.path, key);
}

const Key* Schema::find(const std::string& path) const {
  const auto found = keys_.find(withoutIndices(path));
  return found == keys_.end() ? nullptr : &found->second;
}

bool Schema::isSection(const std::string& path) const {
  return !childrenOf(path).empty();
}

std::vector<std::string> Schema::childrenOf(const std::string& path) const {
  const std::string prefix = path.empty() ? "" : withoutIndices(path) + ".";
  std::vector<std::string> names;
  for (auto at = keys_.lower_bound(prefix); at != keys_.end() && at->first.starts_with(prefix);
       ++at) {
    const std::string rest = at->first.substr(prefix.size());
    std::string name = rest.substr(0, rest.find_first_of(".["));
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }
  return names;
}

bool isSettable(const Key& key) {
  return key.type != KeyType::kAny && key.path.find('[') == std::string::npos;
}

std::string flagName(std::string_view path) {
  return dashed(path);
}

std::string variableName(std::string_view path) {
  std::string name = "CULVERT_" + dashed(path);
  for (char& c : name)
    c = c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return name;
}

std::string_view typeName(KeyType type) {
  switch (type) {
    case KeyType::kString:
      return "string";
    case KeyType::kInteger:
      return "integer";
    case KeyType::kBoolean:
      return "boolean";
    case KeyType::kStrings:
      return "list of strings";
    case KeyType::kAny:
      return "object or list";
  }
  return "";
}

std::string nearest(std::string_view name, const std::vector<std::string>& candidates) {
  std::string best;
  std::size_t bestDistance = name.size() / 3 + 2;
  for (const std::string& candidate : candidates) {
    const std::size_t away = distance(name.substr(0, 64), candidate);
    if (away >= bestDistance) continue;
    best = candidate;
    bestDistance = away;
  }
  return best;
}

}  // namespace culvert::frame
