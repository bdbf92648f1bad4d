// Canaries: batches of the host's own, under identities of its own, whose truth it has committed to
// before anybody looks. Mostly bad: groups that were accepted, each with a lie that a replay finds;
// else good, for validators that accuse without looking. They are committed, drawn, shown and
// judged like every batch, and revealed when the last verdict can have come; the ledger does the
// rest (docs/ledger.md, Canaries; docs/adr/0026-canaries.md).
//
//   tick -> MakeCanaryItem -> CanaryItemMade ... -> Close: a batch, signed -> RevealOf
//
// Which epoch has one, what it is, its identity and its salt follow from the host's key and from
// nothing that anybody else has, so a restart changes none of it. A state machine without I/O.
// Single-threaded.
//
// Source: sheet markets.md 4.5.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <span>
#include <vector>

#include "crypto/identity.h"
#include "ledger/ledger.h"
#include "rollout/encoding.h"
#include "run/lease_book.h"
#include "run/signed_work.h"

namespace waggle {

struct CanarySettings {
  std::uint64_t every = 0;  // epochs from one canary to the next, on average; 0: none
  std::uint32_t groups_max = 64;
};

enum class CanaryLie : std::uint8_t { kNone, kToken, kLogp, kReward };

// A canary as it was committed, whole: nothing else has its groups.
struct CanaryBatch {
  SignedWork work;
  bool bad = false;
  std::vector<GroupRecord> items;  // in the order of work.leases
  bool operator==(const CanaryBatch&) const = default;
};

// Asks the driver for the accepted group of this lease, with a lie put into it; `draw` says where.
struct MakeCanaryItem {
  LeaseId lease;
  CanaryLie lie = CanaryLie::kNone;
  std::uint64_t draw = 0;
};
// In answer. Nothing: the group is not what it should be, or it cannot be told here.
struct CanaryItemMade {
  LeaseId lease;
  std::optional<GroupRecord> record;
};

class CanaryDesk {
 public:
  // `host` outlives the desk. kept: every canary whose batch is in the ledger.
  CanaryDesk(const Signer& host, const LedgerRun& run, const RunTerms& terms,
             const CanarySettings& settings, std::vector<CanaryBatch> kept);

  bool on() const { return settings_.every > 0; }
  // Whether this epoch has one; the host alone can tell.
  bool Planned(std::uint64_t epoch) const;
  // To be committed to in every epoch: of a canary or of nothing, which nobody can tell apart.
  Digest256 Commitment(std::uint64_t epoch) const;
  // How long after the proposals of this epoch its batch is committed: as workers answer.
  Milliseconds Delay(std::uint64_t epoch) const;

  // What was accepted so far in the epoch that is open, and from how many workers. A canary is as
  // large as a worker's batch on average.
  void See(std::uint64_t epoch, std::vector<LeaseId> leases, std::size_t workers);
  // The next group to make; one is asked for at a time. Nothing: there are enough, or no more.
  std::optional<MakeCanaryItem> Next();
  void Made(const CanaryItemMade& made);
  std::size_t made() const { return items_.size(); }
  bool more() const;  // Next() would ask, or an answer is awaited

  // The batch of the epoch that closes, signed, from what was made. Once.
  std::optional<CanaryBatch> Close(std::uint64_t epoch, const LedgerId& ledger);
  // Its entry was taken by the ledger.
  void Committed(CanaryBatch canary);

  const CanaryBatch* Find(std::uint64_t epoch, const NodeId& worker) const;
  bool Is(const NodeId& worker) const { return identities_.contains(worker); }
  // Of an epoch whose window is over. Once.
  std::optional<CanaryReveal> Reveal(std::uint64_t epoch);
  // The epoch is settled: its groups need not be shown any more.
  void Forget(std::uint64_t epoch) { kept_.erase(epoch); }
  const std::map<std::uint64_t, CanaryBatch>& kept() const { return kept_; }

 private:
  Digest256 Secret(std::uint64_t epoch, std::uint8_t of) const;
  KeyPair IdentityOf(std::uint64_t epoch) const;
  bool Bad(std::uint64_t epoch) const;
  std::size_t wanted() const;

  const Signer& host_;
  const LedgerRun run_;
  const RunTerms terms_;
  const CanarySettings settings_;

  // Of the epoch that is open.
  std::uint64_t epoch_ = 0;
  std::vector<LeaseId> seen_;
  std::size_t workers_ = 0;
  std::set<std::uint64_t> used_;               // leases that were asked for
  std::optional<LeaseId> asked_;               // and not answered yet
  std::vector<GroupRecord> items_;             // that were made
  std::map<std::uint64_t, CanaryBatch> kept_;  // by epoch: one each at most
  std::set<NodeId> identities_;
  std::set<std::uint64_t> revealed_;
};

}  // namespace waggle
