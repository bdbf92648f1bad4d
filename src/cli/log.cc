// waggle log: what happened, from the structured logs of hosts and volunteers.
#include <chrono>
#include <memory>
#include <thread>

#include "cli/command.h"
#include "cli/common.h"
#include "cli/node.h"
#include "log/read_log.h"

namespace waggle {
namespace {

namespace fs = std::filesystem;

constexpr auto kFollowPause = std::chrono::milliseconds(500);

struct LogArguments {
  std::vector<std::string> places;
  LogFilter filter;
  bool json = false, follow = false;
};

std::vector<fs::path> PathsOf(const std::vector<std::string>& places) {
  std::vector<fs::path> paths;
  for (const std::string& place : places) {
    const fs::path log = fs::path(place) / "log";  // of a run's folder
    paths.push_back(fs::is_directory(log) ? log : fs::path(place));
  }
  if (paths.empty()) paths.push_back(CacheDirectory() / "logs");
  return paths;
}

void Print(const LogLine& line, bool json) {
  if (json)
    fmt::print("{}\n", line.json);
  else
    fmt::print("{}  {:<9}  {:<16}  {}\n", line.time, line.who, line.event, line.fields);
}

Status ShowLogs(LogArguments arguments) {
  arguments.filter.lease.erase(0, arguments.filter.lease.find_first_not_of('0'));
  std::string last;
  do {
    WG_ASSIGN(const auto lines, ReadLogs(PathsOf(arguments.places), arguments.filter));
    for (const LogLine& line : lines) {
      if (line.time > last) Print(line, arguments.json);
    }
    std::fflush(stdout);
    if (!lines.empty()) last = std::max(last, lines.back().time);
    if (arguments.follow) std::this_thread::sleep_for(kFollowPause);
  } while (arguments.follow && !EndWanted());
  return {};
}

}  // namespace

Action DefineLog(CLI::App& app) {
  auto arguments = std::make_shared<LogArguments>();
  app.add_option("where", arguments->places,
                 "Folders of runs, log files, folders of logs; those of this machine's volunteers "
                 "if none is named.");
  app.add_option("--lease", arguments->filter.lease, "Only what is about this lease (hex).");
  app.add_option("--node", arguments->filter.node,
                 "Only what is about nodes whose address begins so.");
  app.add_option("--event", arguments->filter.event, "Only events whose name begins so.");
  app.add_flag("--json", arguments->json, "The lines as they are in the files.");
  app.add_flag("--follow", arguments->follow, "Go on printing what comes.");
  return [arguments] { return ShowLogs(*arguments); };
}

}  // namespace waggle
