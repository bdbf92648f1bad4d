// What the host of a run must not forget between a promise and a checkpoint: every grant of a lease
// and how it ended, and the groups that were accepted. One SQL for SQLite and PostgreSQL, through
// SOCI (docs/adr/0015-durable-state.md).
//
// The host commits before it says so to anybody. Then whatever was acknowledged survives the death
// of the host at any instruction, and given the groups in lease order the weights are a function of
// the store (docs/ARCHITECTURE.md, "Durability").
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "crypto/identity.h"
#include "protocol/messages.h"
#include "rollout/encoding.h"

namespace waggle {

// One lease in the hands of one worker.
struct LeaseHolder {
  NodeId node;
  Lease lease;
  bool operator==(const LeaseHolder&) const = default;
};

// What one commit makes durable, in this order.
struct StoreBatch {
  std::vector<LeaseHolder> granted;
  std::vector<GroupRecord> accepted;
  std::vector<OutcomeRecord> ended;  // each of a grant that is open
  bool empty() const { return granted.empty() && accepted.empty() && ended.empty(); }
};

class RunStore {
 public:
  // where: "postgresql://..." (anything libpq takes after it), else the path of an SQLite file,
  // made if it is missing. Brings an older schema up to date; refuses a newer one, and a store
  // that holds no row of `run` but rows of another in an SQLite file (Blame::kOperator).
  static Result<std::unique_ptr<RunStore>> Open(const std::string& where, const Hash256& run);
  virtual ~RunStore() = default;

  // All of it or nothing; on disk when it returns. A lease accepted twice, or an outcome of no open
  // grant, is Blame::kBug; whatever the database cannot do is Blame::kMachine.
  virtual Status Commit(const StoreBatch& batch) = 0;

  // Accepted groups of training leases with first_wave <= wave < end_wave, in lease order.
  virtual Result<std::vector<GroupRecord>> Groups(std::uint64_t first_wave,
                                                  std::uint64_t end_wave) = 0;
  // Accepted groups of the evaluation under this policy version.
  virtual Result<std::vector<GroupRecord>> EvaluationGroups(PolicyVersion version) = 0;
  // Grants that have not ended, oldest first.
  virtual Result<std::vector<LeaseHolder>> OpenGrants() = 0;

  struct Counts {
    std::uint64_t granted = 0, open = 0, accepted = 0, tokens = 0;
    bool operator==(const Counts&) const = default;
  };
  virtual Result<Counts> Count() = 0;
  // Outcomes in the order in which they were reached, from the one after `after` (0: the first).
  struct Ended {
    std::uint64_t number = 0;
    OutcomeRecord record;
  };
  virtual Result<std::vector<Ended>> Outcomes(std::uint64_t after, std::uint32_t rows_max) = 0;

  // Everything of this run as it stands, into a fresh SQLite file, while the run goes on.
  virtual Status CopyTo(const std::string& sqlite_path) = 0;
};

}  // namespace waggle
