#include "log/read_log.h"

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>

#include "log/event_log.h"

namespace waggle {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr std::size_t kLineBytesMax = std::size_t{64} << 10;

bool IsLog(const fs::path& path) {
  const std::string name = path.filename().string();
  return name.find(".jsonl") != std::string::npos || name.ends_with(".log");
}

std::vector<fs::path> FilesOf(const fs::path& path) {
  std::vector<fs::path> files;
  std::error_code error;
  if (fs::is_directory(path, error)) {
    for (const auto& entry : fs::directory_iterator(path, error)) {
      if (entry.is_regular_file(error) && IsLog(entry.path())) files.push_back(entry.path());
    }
    return files;
  }
  if (fs::exists(path, error)) files.push_back(path);
  // events.jsonl, events.1.jsonl, ... as the rotating sink names them.
  for (std::size_t i = 1; i <= EventLog::kFiles; ++i) {
    fs::path older = path;
    older.replace_extension("." + std::to_string(i) + path.extension().string());
    if (fs::exists(older, error)) files.push_back(older);
  }
  return files;
}

// As people read it: words bare, everything else quoted as JSON quotes it.
std::string Shown(const Json& value) {
  if (!value.is_string()) return value.dump();
  const auto& text = value.get_ref<const std::string&>();
  const bool word = !text.empty() && std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return c > ' ' && c < 127 && c != '"' && c != '\\' && c != '=';
  });
  return word ? text : value.dump(-1, ' ', true);
}

bool Holds(const Json& line, const char* key, const std::string& wanted) {
  if (wanted.empty()) return true;
  const auto found = line.find(key);
  return found != line.end() && found->is_string() &&
         found->get_ref<const std::string&>().starts_with(wanted);
}

std::optional<LogLine> Parse(const std::string& text, const LogFilter& filter) {
  if (text.size() > kLineBytesMax) return std::nullopt;
  const Json line = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  for (const char* key : {"time", "who", "event"}) {
    if (!line.is_object() || !line.contains(key) || !line[key].is_string()) return std::nullopt;
  }
  if (!filter.lease.empty() && line.value("lease", "") != filter.lease) return std::nullopt;
  if (!Holds(line, "node", filter.node) || !Holds(line, "event", filter.event)) return std::nullopt;
  LogLine read{.time = Shown(line["time"]),
               .who = Shown(line["who"]),
               .event = Shown(line["event"]),
               .fields = "",
               .json = text};
  for (const auto& [key, value] : line.items()) {
    if (key == "time" || key == "who" || key == "event") continue;
    read.fields += (read.fields.empty() ? "" : " ") + Shown(key) + "=" + Shown(value);
  }
  return read;
}

}  // namespace

Result<std::vector<LogLine>> ReadLogs(const std::vector<fs::path>& paths, const LogFilter& filter) {
  std::vector<LogLine> lines;
  for (const fs::path& path : paths) {
    const std::vector<fs::path> files = FilesOf(path);
    if (files.empty()) return Fail(Blame::kOperator, "{}: no log is there", path.string());
    for (const fs::path& file : files) {
      std::ifstream in(file, std::ios::binary);
      for (std::string text; std::getline(in, text);) {
        if (auto line = Parse(text, filter)) lines.push_back(std::move(*line));
      }
    }
  }
  std::stable_sort(lines.begin(), lines.end(),
                   [](const LogLine& a, const LogLine& b) { return a.time < b.time; });
  return lines;
}

}  // namespace waggle
