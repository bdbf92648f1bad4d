// A whole network in one process, over loopback: a host, volunteers and validators, each with a key
// and threads of its own. For demonstrations and tests; the parts are those of real networks.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "host/host_run.h"
#include "join/join_run.h"

namespace waggle {

struct PartyNode {
  std::string name;
  std::array<std::uint8_t, 32> seed{};  // of its key
  bool validator = false;
  std::function<void(const Lease&, Group&)> tamper = nullptr;  // JoinSettings::tamper
  bool lazy = false;     // a validator that says "accepted", whatever it is shown
  bool accuses = false;  // one that says "wrong", and shows nobody why
  bool unaware = false;  // it does not know that it tampers: a machine that computes wrongly
  bool cheats = false;   // for people
  // A host's: HostOptions of the same name.
  bool false_canaries = false;
  // JoinOptions of the same names.
  const Ops* engine = nullptr;
  FalsifyWeights falsify = nullptr;
  bool draft = false;
};

class Party {
 public:
  // say: lines of nodes, with their names; any thread.
  using Say = std::function<void(const std::string& name, const std::string& line)>;
  // host: as a PartyNode. folder: caches and evidence of the nodes.
  static Result<std::unique_ptr<Party>> Open(const Recipe& recipe, const RunOptions& options,
                                             const PartyNode& host, std::filesystem::path folder,
                                             Say say, Clock& clock);
  ~Party();  // after all nodes have left

  void Add(const PartyNode& node);
  // To the end of the run, and until everybody has left.
  Result<RunSummary> Drive();

  const HostRun& host() const { return *host_; }
  // After Drive, of a node that was added.
  const Result<JoinSummary>& SummaryOf(const std::string& name) const {
    return summaries_.at(name);
  }
  static KeyPair KeyOf(const PartyNode& node) { return KeyPair::FromSeed(node.seed); }

 private:
  Party(std::unique_ptr<HostRun> host, const RunOptions& options, std::filesystem::path folder,
        Say say, Clock& clock);
  void Wait();

  std::unique_ptr<HostRun> host_;
  const RunOptions options_;
  const std::filesystem::path folder_;
  const Say say_;
  Clock& clock_;
  std::vector<std::thread> threads_;
  std::mutex mutex_;
  std::map<std::string, Result<JoinSummary>> summaries_;
};

}  // namespace waggle
