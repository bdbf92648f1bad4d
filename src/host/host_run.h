// A run that strangers join: the host's driver. Performs the effects of HostCore on a NodeServer,
// trains on a thread of its own, publishes policies as blobs. It samples nothing itself.
//
// Beside the folder of any run (run_parts.h): tls/ (certificate and key, so that an invite outlives
// a restart), policies/ (what was published, so that a restart publishes the same) and run.db, the
// store of grants, outcomes and accepted groups.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "crypto/identity.h"
#include "host/host_status.h"
#include "host/run_parts.h"
#include "ledger/ledger.h"
#include "protocol/invite.h"
#include "torrent/swarm.h"

namespace waggle {

struct HostOptions {
  std::string listen = "127.0.0.1:0";
  std::vector<std::string> hosts;  // "host:port" for the invite; empty: where it listens
  std::string store;               // RunStore::Open; empty: as before, at first in the run's folder
  std::vector<std::string> mirrors;  // URLs where policies also are (docs/policy-channel.md)
  // Give policies with BitTorrent too, and let volunteers give to one another. Its scratch folder
  // is not used.
  std::optional<SwarmOptions> swarm;
  std::string software;
  std::size_t volunteers_max = 1024;            // connected at a time
  std::size_t volunteers_per_address_max = 64;  // behind one router
  std::string http = "127.0.0.1:0";             // metrics, health, status, orders; "off"
  std::string drand_rounds;  // file or folder (audit/round_keeper.h); where trust.beacon is "drand"
  bool drain_on_red = false;  // when the watch is (run/watch_keeper.h); needs watch.on
  // Asked often; true: drain, save, and end so that the run can be resumed.
  std::function<bool()> wants_to_end = [] { return false; };
  // What a lying trainer (src/zoo) does to a batch before it trains on it; nothing: an honest host.
  std::function<void(PolicyVersion, std::vector<ScoredGroup>&)> tamper = nullptr;
  // What a censoring host leaves out of its batches and windows; nothing: an honest one.
  std::function<bool(LeaseId)> censors = nullptr;
  bool false_canaries = false;  // the groups of its bad ones are good
};

class HostRun {
 public:
  // As LocalRun's. The run's weights are those of the local run, bit for bit, if `ahead` is 0 and
  // nobody cheats.
  static Result<std::unique_ptr<HostRun>> Open(const Recipe& recipe, const RunOptions& options,
                                               HostOptions host, KeyPair key, Clock& clock);
  // Before it listens it trains again, from what it had accepted, up to where it was.
  static Result<std::unique_ptr<HostRun>> Resume(const RunOptions& options, HostOptions host,
                                                 KeyPair key, Clock& clock);
  ~HostRun();

  // What volunteers type.
  const Invite& invite() const;
  // Where it answers HTTP; empty: nowhere.
  std::string http_url() const;
  Result<RunSummary> Drive();
  // After Drive: whether it ended by a drain, with steps left to do.
  bool drained() const;
  HostTimes times() const;
  // Where work is audited; null: it is not.
  const Ledger* ledger() const;

 private:
  struct Loop;
  explicit HostRun(std::unique_ptr<Loop> loop);
  static Result<std::unique_ptr<HostRun>> Around(std::unique_ptr<RunParts> parts, HostOptions host,
                                                 KeyPair key);
  std::unique_ptr<Loop> loop_;
};

}  // namespace waggle
