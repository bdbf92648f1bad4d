#include "environments/json_rows.h"

#include "base/files.h"
#include "environments/task_tools.h"

namespace waggle {

using Json = nlohmann::json;

Result<Json> ParseObject(std::string_view text) {
  if (text.size() > kTaskRowBytesMax)
    return Fail(Blame::kOperator, "a row of {} bytes, limit {}", text.size(), kTaskRowBytesMax);
  // The library's parser keeps its own stack, but destroying a deeply nested value recurses: refuse
  // depth first.
  int depth = 0;
  const auto shallow = [&depth](int at, Json::parse_event_t, Json&) {
    depth = std::max(depth, at);
    return at < 32;
  };
  Json row = Json::parse(text, shallow, /*allow_exceptions=*/false);
  if (row.is_discarded() || !row.is_object() || depth >= 32)
    return Fail(Blame::kOperator, "not a JSON object");
  return row;
}

Result<std::vector<Json>> ReadJsonLines(const std::string& path) {
  WG_ASSIGN(const std::string text, ReadFile(path, kTaskFileBytesMax));
  std::vector<Json> rows;
  std::size_t line = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view row = std::string_view(text).substr(at, end - at);
    at = end + 1;
    ++line;
    if (Trim(row).empty()) continue;
    auto json = ParseObject(row);
    if (!json) return Fail(Blame::kOperator, "{}:{}: {}", path, line, json.error().what);
    rows.push_back(std::move(*json));
  }
  if (rows.empty()) return Fail(Blame::kOperator, "{}: no rows", path);
  return rows;
}

Result<std::string> TextField(const Json& row, const char* field) {
  const auto at = row.find(field);
  if (at == row.end() || !at->is_string())
    return Fail(Blame::kOperator, "field '{}' must be a text", field);
  return at->get<std::string>();
}

namespace {

Result<std::int64_t> Bounded(const Json& value, const char* field, std::int64_t max) {
  if (!value.is_number_integer())
    return Fail(Blame::kOperator, "field '{}' must hold whole numbers", field);
  const auto number = value.get<std::int64_t>();
  const bool wrapped = value.is_number_unsigned() && number < 0;
  if (wrapped || number > max || number < -max)
    return Fail(Blame::kOperator, "field '{}': beyond {}", field, max);
  return number;
}

}  // namespace

Result<std::int64_t> IntegerField(const Json& row, const char* field, std::int64_t max) {
  const auto at = row.find(field);
  if (at == row.end()) return Fail(Blame::kOperator, "field '{}' is missing", field);
  return Bounded(*at, field, max);
}

Result<std::vector<std::int64_t>> IntegersField(const Json& row, const char* field,
                                                std::int64_t max) {
  const auto at = row.find(field);
  if (at == row.end() || !at->is_array())
    return Fail(Blame::kOperator, "field '{}' must be a list", field);
  std::vector<std::int64_t> numbers;
  for (const Json& item : *at) {
    WG_ASSIGN(const std::int64_t number, Bounded(item, field, max));
    numbers.push_back(number);
  }
  return numbers;
}

}  // namespace waggle
