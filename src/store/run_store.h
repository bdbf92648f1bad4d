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
#include <variant>
#include <vector>

#include "base/result.h"
#include "crypto/identity.h"
#include "protocol/messages.h"
#include "rollout/encoding.h"
#include "store/desks.h"

namespace waggle {

// One lease in the hands of one worker.
struct LeaseHolder {
  NodeId node;
  Lease lease;
  bool operator==(const LeaseHolder&) const = default;
};

// A grant, an accepted group, the end of a grant that is open, or something between host and desks.
using StoreEntry = std::variant<LeaseHolder, GroupRecord, OutcomeRecord, DeskEntry>;
using StoreBatch = std::vector<StoreEntry>;  // in the order in which things happened

// A grant that had not ended. superseded: its lease was accepted from somebody else, or granted to
// somebody else later.
struct OpenGrant {
  LeaseHolder holder;
  bool superseded = false;
  bool operator==(const OpenGrant&) const = default;
};

class RunStore {
 public:
  enum class Access : std::uint8_t { kRead, kWrite };
  // where: "postgresql://..." (anything libpq takes after it), else the path of an SQLite file. A
  // writer makes what is missing, brings an older schema up to date, and is the run's only one;
  // readers may come at any time. Blame::kOperator: a newer schema, an SQLite file of another run,
  // a second writer of a run in PostgreSQL, nothing there to read.
  static Result<std::unique_ptr<RunStore>> Open(const std::string& where, const Hash256& run,
                                                Access access);
  virtual ~RunStore() = default;

  // All of it or nothing; on disk when it returns. A database server that went away is waited for,
  // half a minute. A lease accepted twice, or an outcome of no open grant, is Blame::kBug; whatever
  // the database cannot do is Blame::kMachine.
  virtual Status Commit(const StoreBatch& batch) = 0;

  // Accepted groups of the training waves, and of the evaluations under the versions, with these
  // numbers: first <= number < end. Waves first, each in the order of their leases.
  virtual Result<std::vector<GroupRecord>> Groups(std::uint64_t first, std::uint64_t end) = 0;
  virtual Result<std::vector<GroupRecord>> Evaluations(std::uint64_t first, std::uint64_t end) = 0;
  // Accepted groups of training leases in the order in which they were accepted (a desk's: in which
  // the host noted them), the first of all being number 0: `count` of them at most.
  virtual Result<std::vector<GroupRecord>> Arrived(std::uint64_t first, std::uint64_t count) = 0;
  // The accepted group of one lease; nothing: none was.
  virtual Result<std::optional<GroupRecord>> GroupOf(LeaseId lease) = 0;
  virtual Result<std::vector<OpenGrant>> OpenGrants() = 0;  // the host's own, oldest first

  struct Counts {
    std::uint64_t granted = 0, open = 0, accepted = 0, tokens = 0;
    bool operator==(const Counts&) const = default;
  };
  virtual Result<Counts> Count() = 0;
  // Outcomes in the order in which they were reached, from the one after `after` (0: the first);
  // the host's, then those of each desk (their numbers begin at the desk's id << 40).
  struct Ended {
    std::uint64_t number = 0;
    OutcomeRecord record;
  };
  virtual Result<std::vector<Ended>> Outcomes(std::uint64_t after, std::uint32_t rows_max) = 0;

  // For the host, where there can be desks (PostgreSQL). What they did; returns are told again
  // until DelegationEnded is committed.
  virtual bool takes_desks() const = 0;
  virtual Result<DeskNews> News() = 0;
  // What is in the hands of desks, after a restart: to be read after Groups(), for a desk may
  // accept a group between the two.
  virtual Result<std::vector<LeaseDelegated>> Delegations() = 0;
  // Closes a desk that was silent this long: false if it was not, or is closed. Its grants that are
  // open end as expired, and nothing is committed by it any more. kHostDesk: the run is over, and
  // desks hear it.
  virtual Result<bool> CloseDesk(DeskId desk, std::uint64_t silent_ms) = 0;

  // Everything of this run as it stands, into a store that holds nothing of it, while the run goes
  // on. Desks are not part of it: what they hold is free there.
  virtual Status CopyTo(const std::string& where) = 0;
};

}  // namespace waggle
