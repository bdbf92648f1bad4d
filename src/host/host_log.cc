#include "host/host_log.h"

#include "base/hex.h"

namespace waggle {

Result<HostLog> HostLog::Open(const std::filesystem::path& folder, const std::string& who,
                              Clock& clock) {
  WG_ASSIGN(auto log, EventLog::Open(folder / "log" / (who + ".jsonl"), who, clock));
  return HostLog(std::move(log));
}

void HostLog::Started(const Hash256& run, const NodeId& self, const std::string& software,
                      const std::string& address) {
  log_->Write(
      LogEvent::kStarted,
      {{"run", ToHex(run)}, {"node", ToText(self)}, {"software", software}, {"address", address}});
}

void HostLog::Opened(const Event& event) {
  log_->Write(LogEvent::kConnected,
              {{"link", static_cast<std::uint64_t>(event.connection)}, {"address", event.text}});
}

void HostLog::Closed(const CloseLink& close) {
  log_->Write(LogEvent::kDisconnected, {{"link", close.link.value},
                                        {"node", close.node ? ToText(*close.node) : "unknown"},
                                        {"why", close.why}});
}

void HostLog::Closed(LinkId link, const HostCore& core, const std::string& why) {
  if (core.Has(link)) Closed(CloseLink{link, why, core.PeerOf(link)});
}

void HostLog::Kept(const StoreEntry& entry) {
  if (const auto* grant = std::get_if<LeaseHolder>(&entry)) {
    log_->Write(LogEvent::kLeaseGranted, {{"lease", LeaseName(grant->lease.id)},
                                          {"node", ToText(grant->node)},
                                          {"rollouts", std::uint64_t{grant->lease.group_size}},
                                          {"version", grant->lease.version.value}});
  } else if (const auto* accepted = std::get_if<GroupRecord>(&entry)) {
    log_->Write(LogEvent::kGroupAccepted,
                {{"lease", LeaseName(accepted->lease.id)},
                 {"rollouts", std::uint64_t{accepted->group.rollouts.size()}}});
  } else if (const auto* record = std::get_if<OutcomeRecord>(&entry)) {
    log_->Write(LogEvent::kLeaseEnded, {{"lease", LeaseName(record->lease)},
                                        {"node", ToText(record->worker)},
                                        {"outcome", ToString(record->outcome)},
                                        {"tokens", record->tokens},
                                        {"reason", record->reason ? ToString(*record->reason) : ""},
                                        {"text", record->text}});
  } else if (const auto* told = std::get_if<LeaseDelegated>(&std::get<DeskEntry>(entry))) {
    log_->Write(LogEvent::kLeaseDelegated, {{"lease", LeaseName(told->lease.id)},
                                            {"desk", told->desk.value},
                                            {"version", told->lease.version.value}});
  }
}

void HostLog::Batch(const TrainOn& batch, PolicyVersion current) {
  log_->Write(LogEvent::kBatchFormed, {{"batch", batch.batch},
                                       {"groups", std::uint64_t{batch.groups.size()}},
                                       {"version", current.value}});
}

void HostLog::Stepped(const StepDone& done) {
  log_->Write(LogEvent::kStepDone,
              {{"seconds", done.seconds}, {"forged", std::uint64_t{done.forged.size()}}});
  for (const LeaseId lease : done.forged)
    log_->Write(LogEvent::kForged, {{"lease", LeaseName(lease)}});
}

void HostLog::Published(const PolicyOut& out) {
  log_->Write(LogEvent::kPolicyPublished,
              {{"version", out.version.value}, {"manifest", ToHex(out.manifest)}});
}

void HostLog::Saved(PolicyVersion version) {
  log_->Write(LogEvent::kCheckpointSaved, {{"version", version.value}});
}

void HostLog::Draining() { log_->Write(LogEvent::kDraining, {}); }
void HostLog::Ended(const std::string& why) { log_->Write(LogEvent::kEnded, {{"why", why}}); }

}  // namespace waggle
