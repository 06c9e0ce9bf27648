#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace culvert::ctl {

enum class Format { kTable, kJson, kYaml };

/// Columns as wide as their widest cell, two blanks between them, titles in upper case.
class Table {
 public:
  explicit Table(std::vector<std::string> titles) : rows_{std::move(titles)} {}
  void add(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  bool empty() const { return rows_.size() == 1; }
  /// With a newline at the end of each line. `colours`: states ("ok", "failed") are coloured.
  std::string text(bool colours) const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

/// A list of objects as a table: a column for each key, in order of first appearance.
Table tableOf(const nlohmann::ordered_json& list);
/// A value as it stands in a cell: strings plain, lists separated by commas.
std::string cell(const nlohmann::json& value);
/// `text` in the colour of what it says: green ok and live, yellow degraded, red failed.
std::string coloured(const std::string& text, bool colours);

/// YAML 1.2 that any reader takes for the same value.
std::string yaml(const nlohmann::json& value);

}  // namespace culvert::ctl
