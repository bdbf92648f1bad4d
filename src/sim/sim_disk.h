// What a simulated host has on disk: it outlives processes, and fails when it is told to. A write
// is whole or absent once it returned; what was not written when a process died is gone.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "sim/scenario.h"
#include "sim/toy_policy.h"
#include "store/run_store.h"

namespace waggle {

class SimDisk {
 public:
  // Faults: every write fails while `full`; each of fail_next writes fails.
  bool full = false;
  std::uint32_t fail_next = 0;
  bool forgets = true;  // what lies before the oldest checkpoint's wave

  struct Checkpoint {
    PolicyVersion version;
    ToyPolicy policy;
    std::string state;  // OrchestratorCore::SavePosition()
    bool torn = false;
  };
  Status Save(Checkpoint checkpoint);
  // The newest that is whole. read_torn: a planted bug.
  std::optional<Checkpoint> Newest(bool read_torn = false) const;
  void TearNewest();

  // As store/run_store.h has them: all of a batch or nothing. kept: told of each entry, in order,
  // once they are on disk.
  Status Commit(StoreBatch batch, const std::function<void(const StoreEntry&)>& kept);
  std::vector<GroupRecord> Groups(std::uint64_t first, std::uint64_t end) const;
  std::vector<GroupRecord> Arrived(std::uint64_t first) const;  // if it forgets nothing
  std::vector<OpenGrant> OpenGrants() const;

 private:
  struct Grant {
    std::uint64_t number = 0;
    LeaseHolder holder;
  };

  Status Write();
  void ForgetBefore(std::uint64_t wave);

  std::vector<Checkpoint> checkpoints_;          // oldest first
  std::map<std::uint64_t, GroupRecord> groups_;  // by lease
  std::vector<std::uint64_t> arrived_;           // training leases, as they were accepted
  std::map<std::pair<std::uint64_t, NodeId>, Grant> open_;
  std::map<std::uint64_t, std::uint64_t> newest_;  // grant of each lease, ended or not
  std::uint64_t grants_ = 0;
};

}  // namespace waggle
