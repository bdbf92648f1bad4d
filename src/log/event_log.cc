#include "log/event_log.h"

#include <fmt/chrono.h>
#include <spdlog/async.h>
#include <spdlog/async_logger.h>
#include <spdlog/sinks/rotating_file_sink.h>

#include <nlohmann/json.hpp>

#include "base/folders.h"

namespace waggle {
namespace {

constexpr std::size_t kQueuedLines = 16'384;

// 2026-01-31T23:59:59.123456Z
std::string TimeText(double unix_seconds) {
  const auto micros = static_cast<std::int64_t>(unix_seconds * 1e6);
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:06}Z", fmt::gmtime(micros / 1'000'000),
                     micros % 1'000'000);
}

}  // namespace

const std::vector<LogEventDoc>& LogEventDocs() {
  static const std::vector<LogEventDoc> docs = {
      {LogEvent::kStarted, "started", "host, desk, volunteer",
       "run, node, software, address or version",
       "The process takes part in the run from here on."},
      {LogEvent::kConnected, "connected", "host, desk, volunteer", "link, address",
       "A line was opened: to the host, or from a node that has not said yet who it is."},
      {LogEvent::kDisconnected, "disconnected", "host, desk, volunteer", "link, node, why",
       "A line ended, whoever ended it."},
      {LogEvent::kLeaseGranted, "lease_granted", "host, desk", "lease, node, rollouts, version",
       "The grant is on disk and goes out to this node."},
      {LogEvent::kLeaseDelegated, "lease_delegated", "host", "lease, desk, version",
       "The lease is this desk's to grant, until it answers."},
      {LogEvent::kLeaseStarted, "lease_started", "volunteer", "lease, rollouts",
       "The engine samples for it."},
      {LogEvent::kGroupAccepted, "group_accepted", "host, desk", "lease, rollouts",
       "The group passed admission and is on disk; its outcome follows."},
      {LogEvent::kLeaseEnded, "lease_ended", "host, desk, volunteer",
       "lease, node, outcome, tokens, reason, text, seconds",
       "The one outcome of a grant; `seconds` since the grant came, on the volunteer."},
      {LogEvent::kBatchFormed, "batch_formed", "host", "batch, groups, version",
       "A wave is complete; the trainer begins a step on it."},
      {LogEvent::kStepDone, "step_done", "host", "seconds, forged", "The trainer ended a step."},
      {LogEvent::kForged, "forged", "host", "lease",
       "Log-probs that the weights do not give: the group was left out of its batch."},
      {LogEvent::kPolicyPublished, "policy_published", "host", "version, manifest",
       "The version is on disk and announced."},
      {LogEvent::kPolicyLoaded, "policy_loaded", "volunteer", "version, host_bytes, mirror_bytes",
       "The version was fetched, has the announced root, and is sampled from; bytes so far."},
      {LogEvent::kCheckpointSaved, "checkpoint_saved", "host", "version",
       "A checkpoint is complete."},
      {LogEvent::kDraining, "draining", "host, desk, volunteer", "", "No new leases from here on."},
      {LogEvent::kEnded, "ended", "host, desk, volunteer", "why", "The process leaves the run."},
  };
  return docs;
}

struct EventLog::Impl {
  Impl(const std::filesystem::path& path, std::string_view name, Clock& c)
      : who(name),
        clock(c),
        pool(std::make_shared<spdlog::details::thread_pool>(kQueuedLines, 1)),
        logger(std::make_shared<spdlog::async_logger>(
            "events",
            std::make_shared<spdlog::sinks::rotating_file_sink_mt>(path.string(), kFileBytes,
                                                                   kFiles),
            pool, spdlog::async_overflow_policy::overrun_oldest)) {
    logger->set_pattern("%v");
    // A disk that is full costs lines, nothing else.
    logger->set_error_handler([](const std::string&) {});
  }
  const std::string who;
  Clock& clock;
  std::shared_ptr<spdlog::details::thread_pool> pool;
  std::shared_ptr<spdlog::async_logger> logger;
  double flushed = 0;
};

EventLog::EventLog(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
EventLog::~EventLog() { impl_->logger->flush(); }

Result<std::unique_ptr<EventLog>> EventLog::Open(const std::filesystem::path& path,
                                                 std::string_view who, Clock& clock) {
  WG_TRY(MakeFolder(path.parent_path()));
  try {
    return std::unique_ptr<EventLog>(new EventLog(std::make_unique<Impl>(path, who, clock)));
  } catch (const spdlog::spdlog_ex& error) {
    return Fail(Blame::kMachine, "log {}: {}", path.string(), error.what());
  }
}

void EventLog::Write(LogEvent event, std::initializer_list<LogField> fields) {
  const double now = impl_->clock.UnixSeconds();
  nlohmann::ordered_json line = {{"time", TimeText(now)},
                                 {"who", impl_->who},
                                 {"event", LogEventDocs()[static_cast<std::size_t>(event)].name}};
  for (const LogField& field : fields) {
    std::visit(
        [&](const auto& value) {
          if constexpr (std::is_same_v<std::decay_t<decltype(value)>, std::string>)
            line[field.key] = value.substr(0, kLogTextMax);
          else
            line[field.key] = value;
        },
        field.value);
  }
  impl_->logger->info("{}",
                      line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
  if (now < impl_->flushed + 1) return;
  impl_->flushed = now;
  impl_->logger->flush();
}

std::uint64_t EventLog::dropped() const { return impl_->pool->overrun_counter(); }

}  // namespace waggle
