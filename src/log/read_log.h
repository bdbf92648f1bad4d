// Reads what EventLog wrote: the lines of several files, filtered, in the order of their times.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/result.h"

namespace waggle {

// Empty: any.
struct LogFilter {
  std::string lease, node, event;
};

struct LogLine {
  std::string time, who, event;
  std::string fields;  // "lease=1f node=wgl1...": for people; control characters are escaped
  std::string json;
};

// path: a log, with the older files beside it, or a folder, with all logs in it. Lines that are no
// JSON object of ours (the last one of a process that was killed) are skipped. Blame::kOperator:
// nothing there.
Result<std::vector<LogLine>> ReadLogs(const std::vector<std::filesystem::path>& paths,
                                      const LogFilter& filter);

}  // namespace waggle
