// JSON Lines task files: read whole and checked at start, so that tasks can be handed out without
// failing later.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace waggle {

inline constexpr std::size_t kTaskFileBytesMax = std::size_t{1} << 30;
inline constexpr std::size_t kTaskRowBytesMax = std::size_t{1} << 20;

// One JSON object; refuses anything else. Never throws.
Result<nlohmann::json> ParseObject(std::string_view text);
// All non-empty lines of the file; errors name file and line.
Result<std::vector<nlohmann::json>> ReadJsonLines(const std::string& path);

Result<std::string> TextField(const nlohmann::json& row, const char* field);
// |value| <= max.
Result<std::int64_t> IntegerField(const nlohmann::json& row, const char* field, std::int64_t max);
Result<std::vector<std::int64_t>> IntegersField(const nlohmann::json& row, const char* field,
                                                std::int64_t max);

// read(json) -> Result<Row>.
template <class Read>
auto ParseRow(std::string_view text, const Read& read) -> decltype(read(nlohmann::json{})) {
  WG_ASSIGN(const nlohmann::json row, ParseObject(text));
  return read(row);
}

template <class Row, class Read>
Result<std::vector<Row>> ReadRows(const std::string& path, const Read& read) {
  WG_ASSIGN(const std::vector<nlohmann::json> lines, ReadJsonLines(path));
  std::vector<Row> rows;
  for (const nlohmann::json& line : lines) {
    auto row = read(line);
    if (!row)
      return Fail(Blame::kOperator, "{}: row {}: {}", path, rows.size() + 1, row.error().what);
    rows.push_back(std::move(*row));
  }
  return rows;
}

// Removes training rows that are also held out (published splits are not always disjoint). Rows
// have key().
template <class Row>
Status DropHeldOut(std::vector<Row>& train, const std::vector<Row>& test, const std::string& path) {
  std::set<std::string> held_out;
  for (const Row& row : test) held_out.insert(row.key());
  std::erase_if(train, [&](const Row& row) { return held_out.contains(row.key()); });
  if (train.empty()) return Fail(Blame::kOperator, "{}: every row is held out as well", path);
  return {};
}

}  // namespace waggle
