#include "daemons/culvertctl/output.h"

#include <algorithm>
#include <cctype>
#include <map>

namespace culvert::ctl {
namespace {

using nlohmann::json;

std::string upper(std::string text) {
  for (char& c : text)
    c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return text;
}

/// Characters that take a place on the screen: UTF-8's continuation bytes do not.
std::size_t shownWidth(const std::string& text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U;
  }));
}

std::vector<std::size_t> widths(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> result;
  for (const auto& row : rows) {
    result.resize(std::max(result.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i)
      result[i] = std::max(result[i], shownWidth(row[i]));
  }
  return result;
}

/// Control characters of somebody else's never reach a terminal.
std::string printable(std::string text) {
  for (char& c : text)
    if (static_cast<unsigned char>(c) < ' ' || c == 0x7f) c = '?';
  return text;
}

std::string yamlString(const std::string& text) {
  const auto plain = [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '_' || c == '/' || c == '.' || c == '-';
  };
  static const std::vector<std::string> kWords = {"true", "false", "null", "yes", "no",
                                                  "on",   "off",   "y",    "n"};
  std::string lower = text;
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  const bool word = !text.empty() && std::isalpha(static_cast<unsigned char>(text[0])) != 0 &&
                    std::all_of(text.begin(), text.end(), plain) &&
                    std::find(kWords.begin(), kWords.end(), lower) == kWords.end();
  // A JSON string is a YAML double-quoted scalar (YAML 1.2.2 section 1.3).
  return word ? text : json(text).dump(-1, ' ', false, json::error_handler_t::replace);
}

void writeYaml(const json& value, const std::string& indent, std::string& out);

void writeMember(const json& value, const std::string& indent, std::string& out) {
  if (value.is_structured() && !value.empty()) {
    out += "\n";
    writeYaml(value, indent, out);
  } else {
    out += " ";
    writeYaml(value, indent, out);
  }
}

void writeYaml(const json& value, const std::string& indent, std::string& out) {
  if (value.is_object() && !value.empty()) {
    for (const auto& [key, member] : value.items()) {
      out += indent + yamlString(key) + ":";
      writeMember(member, indent + "  ", out);
    }
  } else if (value.is_array() && !value.empty()) {
    for (const json& item : value) {
      std::string block;
      writeYaml(item, indent + "  ", block);
      out += indent + "- " +
             (item.is_structured() && !item.empty() ? block.substr(indent.size() + 2) : block);
    }
  } else {
    out += (value.is_string() ? yamlString(value.get<std::string>()) : value.dump()) + "\n";
  }
}

}  // namespace

std::string coloured(const std::string& text, bool colours) {
  static const std::map<std::string, const char*> kColours = {
      {"ok", "32"},       {"live", "32"},       {"established", "32"}, {"starting", "33"},
      {"degraded", "33"}, {"connecting", "33"}, {"listing", "33"},     {"stale", "33"},
      {"failed", "31"},   {"down", "31"}};
  const auto colour = kColours.find(text);
  if (!colours || colour == kColours.end()) return text;
  return std::string("\x1b[") + colour->second + "m" + text + "\x1b[0m";
}

std::string Table::text(bool colours) const {
  const auto columns = widths(rows_);
  std::string all;
  for (const auto& row : rows_) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      const std::string shown = printable(row[i]);
      line += &row == &rows_.front() ? upper(shown) : coloured(shown, colours);
      line += std::string(columns[i] - shownWidth(row[i]) + 2, ' ');
    }
    line.erase(line.find_last_not_of(' ') + 1);
    all += line + "\n";
  }
  return all;
}

Table tableOf(const nlohmann::ordered_json& list) {
  std::vector<std::string> keys;
  for (const auto& item : list)
    for (const auto& [key, value] : item.items())
      if (std::find(keys.begin(), keys.end(), key) == keys.end()) keys.push_back(key);
  Table table(keys);
  for (const auto& item : list) {
    std::vector<std::string> row;
    for (const std::string& key : keys)
      row.push_back(item.contains(key) ? cell(item[key]) : "");
    table.add(std::move(row));
  }
  return table;
}

std::string cell(const json& value) {
  if (value.is_null()) return "";
  if (value.is_string()) return value.get<std::string>();
  if (!value.is_array()) return value.dump(-1, ' ', false, json::error_handler_t::replace);
  std::string text;
  for (const json& item : value)
    text += (text.empty() ? "" : ", ") + cell(item);
  return text;
}

std::string yaml(const json& value) {
  std::string text;
  writeYaml(value, "", text);
  return text;
}

}  // namespace culvert::ctl
