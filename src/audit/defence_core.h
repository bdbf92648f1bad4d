// A worker that defends what it handed in: when a validator finds against one of its batches, or
// somebody accuses it, it examines the audited groups again. Work that holds is contested in time;
// work that does not is a fault of this machine, and is not. A state machine without I/O: events
// in, effects out. The driver has the groups and does the computing (defending.h). Single-threaded.
//
// A worker need not follow the ledger: a host that knows of something about it tells the entry
// unasked, and from then on all of it is asked for, followed and believed only as far as it
// applies. A host that does not tell could withhold the answer too.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "audit/ledger_follower.h"
#include "audit/validator_core.h"

namespace waggle {

// Events: HostAnswered and HostSaid, as a validator hears them (validator_core.h), and
struct OwnExamined {  // in answer to ExamineOwn
  enum class Kind : std::uint8_t {
    kHolds,
    kFails,    // this machine made, or kept, what it cannot make again
    kUnknown,  // it cannot be told here: groups or weights are gone
  };
  std::uint64_t epoch = 0;
  Kind kind = Kind::kUnknown;
  std::string text;
};
struct DefenceTick {
  std::uint64_t wall_ms = 0;  // since 1970
};
using DefenceEvent = std::variant<HostAnswered, HostSaid, OwnExamined, DefenceTick>;

// Effects: SayToHost, Noticed, HostLied and MachineFault, and
struct ExamineOwn {  // these items of the batch that we signed for this epoch
  std::uint64_t epoch = 0;
  std::vector<std::uint32_t> items;
};
using DefenceEffect = std::variant<SayToHost, Noticed, HostLied, ExamineOwn, MachineFault>;

class DefenceCore {
 public:
  // `key` outlives the core.
  DefenceCore(const Signer& key, const Hash256& run, const Hash256& description);

  [[nodiscard]] std::vector<DefenceEffect> Step(const DefenceEvent& event);

  struct Counts {
    std::uint64_t looked = 0, contested = 0, won = 0, lost = 0;
  };
  const Counts& counts() const { return counts_; }
  const Ledger* ledger() const { return follower_.ledger(); }
  // The weights of a version, as the host signed them; null: not told.
  const Hash256* RootOf(PolicyVersion version) const {
    const auto found = policies_.find(version);
    return found == policies_.end() ? nullptr : &found->second;
  }

 private:
  struct Case {
    std::optional<OwnExamined::Kind> found;
    bool said = false;  // what came of it, when nothing is to be done
    bool contested = false;
    std::optional<std::uint64_t> lapse_asked_ms;
  };

  void On(const HostAnswered& event);
  void On(const HostSaid& event);
  void On(const OwnExamined& event);
  void On(const DefenceTick& event);
  void Heard(const LedgerEntries& message);
  void Heard(const LedgerDeclined& message);
  void Heard(const PolicySigned& message);
  template <class T>
  void Heard(const T&) {}

  void Look();
  void SayNoCanary(std::uint64_t epoch, const LedgerBatch& batch);
  void Answer(std::uint64_t epoch, Case& it, const LedgerBatch& batch);
  void Judged(const LedgerEvent& event);
  void Submit(std::uint64_t epoch, LedgerBody body);

  const Signer& key_;
  const LedgerRun run_;
  const Hash256 description_;
  std::vector<DefenceEffect> effects_;  // of the step in progress
  std::optional<NodeId> host_;
  LedgerFollower follower_;
  bool linked_ = false, follows_ = false, lied_ = false;
  std::uint64_t wall_ms_ = 0;
  std::optional<std::uint64_t> submitted_;  // nonce
  std::uint64_t submitted_for_ = 0;         // epoch
  std::map<PolicyVersion, Hash256> policies_;
  std::map<std::uint64_t, Case> cases_;  // by epoch
  Counts counts_;
};

}  // namespace waggle
