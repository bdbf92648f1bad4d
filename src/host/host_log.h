// What a host or a desk writes into its structured log (docs/logs.md): log/<who>.jsonl in its
// folder.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "host/host_core.h"
#include "log/event_log.h"
#include "net/event.h"
#include "run/train_thread.h"

namespace waggle {

class HostLog {
 public:
  // who: "host" or "desk".
  static Result<HostLog> Open(const std::filesystem::path& folder, const std::string& who,
                              Clock& clock);

  void Started(const Hash256& run, const NodeId& self, const std::string& software,
               const std::string& address);
  void Opened(const Event& event);
  void Closed(const CloseLink& close);
  // The other side ended it; core: before it hears of that. Nothing if we had closed it.
  void Closed(LinkId link, const HostCore& core, const std::string& why);
  void Kept(const StoreEntry& entry);
  void Batch(const TrainOn& batch, PolicyVersion current);
  void Stepped(const StepDone& done);
  void Published(const PolicyOut& out);
  void Saved(PolicyVersion version);
  void Draining();
  void Ended(const std::string& why);

 private:
  explicit HostLog(std::unique_ptr<EventLog> log) : log_(std::move(log)) {}
  std::unique_ptr<EventLog> log_;
};

}  // namespace waggle
