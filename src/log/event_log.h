// The structured log of a process: one JSON object a line, written by a thread of its own (spdlog),
// in files that take turns. Every line about a lease carries the lease's id, on the host and on
// the volunteer alike: `waggle log --lease ID` puts the story together (docs/logs.md).
//
// Nothing that is written here feeds back into a run, and nothing here can hold one up: lines that
// the disk is too slow for are dropped and counted.
#pragma once

#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/clock.h"
#include "base/result.h"

namespace waggle {

enum class LogEvent : std::uint8_t {
  kStarted,
  kConnected,
  kDisconnected,
  kLeaseGranted,
  kLeaseDelegated,
  kLeaseStarted,
  kGroupAccepted,
  kLeaseEnded,
  kBatchFormed,
  kStepDone,
  kForged,
  kPolicyPublished,
  kPolicyLoaded,
  kCheckpointSaved,
  kDraining,
  kEnded,
};
struct LogEventDoc {
  LogEvent event;
  const char* name;    // the "event" of its lines
  const char* writer;  // host, desk, volunteer
  const char* fields;  // beside time, who and event
  const char* help;
};
// In the order of LogEvent.
const std::vector<LogEventDoc>& LogEventDocs();

// Texts may come from strangers: they are escaped, and cut off at kLogTextMax.
struct LogField {
  const char* key;
  std::variant<std::string, std::uint64_t, double> value;
};
inline constexpr std::size_t kLogTextMax = 512;

class EventLog {
 public:
  static constexpr std::size_t kFileBytes = std::size_t{32} << 20;
  static constexpr std::size_t kFiles = 4;  // beside the newest: path.1 is the youngest of them

  // Made with its folder. who: "host", "volunteer". `clock` outlives the log. Any thread.
  static Result<std::unique_ptr<EventLog>> Open(const std::filesystem::path& path,
                                                std::string_view who, Clock& clock);
  ~EventLog();  // all that was written is in the file

  void Write(LogEvent event, std::initializer_list<LogField> fields);
  std::uint64_t dropped() const;

 private:
  struct Impl;
  explicit EventLog(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace waggle
