// The log: every entry in its order, chained by hash, each head signed by the sequencer. Whoever
// has the genesis and the log recomputes everything; nobody can leave an entry out of the middle,
// and a sequencer that signs two heads with one number has signed its own conviction.
//
//   chain_0 = ledger id;   chain_n = Keccak-256( chain_{n-1} | bytes of entry n )
#pragma once

#include <functional>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "ledger/ledger.h"

namespace waggle {

inline constexpr std::string_view kHeadDomain = "WGL-LEDGER-HEAD-1";

// After an entry. The root is there when money came to rest: after settlements and the end of a
// run, and in snapshots.
struct LedgerHead {
  LedgerId ledger;
  std::uint64_t sequence = 0, at_ms = 0;
  Digest256 chain{};
  std::optional<Digest256> root;
  Signature signature{};
  bool operator==(const LedgerHead&) const = default;
};
WG_LEDGER_FIELDS(LedgerHead) {  // what is signed: all but the signature
  v(1, "ledger", x.ledger);
  v(2, "sequence", x.sequence);
  v(3, "at_ms", x.at_ms);
  v(4, "chain", x.chain);
  v(5, "root", x.root);
}
bool WantsRoot(const LedgerBody& body);  // whether the head after it has a root
void SignHead(const Signer& sequencer, LedgerHead& head);
bool HeadHolds(const LedgerGenesis& genesis, const LedgerHead& head, const SignatureCheck& check);

Digest256 NextChain(const Digest256& chain, std::span<const std::uint8_t> entry);

// One row of the log: an entry, and what the sequencer signed after it.
struct LogRecord {
  Bytes entry;
  std::optional<Digest256> root;
  Signature head_signature{};
  bool operator==(const LogRecord&) const = default;
};

// Follows a log from its beginning, or from a snapshot, and believes nothing: order, times,
// authors' signatures, rules, chain, heads, roots.
class LedgerReplay {
 public:
  explicit LedgerReplay(const LedgerGenesis& genesis, SignatureCheck check = Verify);
  // REQUIRES that the caller checked the head against the state's root.
  LedgerReplay(Ledger ledger, const Digest256& chain, SignatureCheck check = Verify);

  // Blame::kPeer: whoever made this log. What it said until here stays.
  Result<LedgerEvents> Feed(const LogRecord& record);

  const Ledger& ledger() const { return ledger_; }
  Ledger& ledger() { return ledger_; }
  const Digest256& chain() const { return chain_; }
  LedgerHead Head() const;  // unsigned
  // For the sequencer, whose own entry was just applied: the chain goes on.
  void Advance(std::span<const std::uint8_t> entry) { chain_ = NextChain(chain_, entry); }

 private:
  Ledger ledger_;
  Digest256 chain_;
  SignatureCheck check_;
};

// Where records go to stay. Append returns when they survive the loss of power.
class LedgerJournal {
 public:
  virtual ~LedgerJournal() = default;
  virtual Status Append(std::span<const LogRecord> records) = 0;
  // The state after the last record, now and then, with a signed head that has its root: so that
  // opening need not begin at the beginning.
  virtual Status Keep(const LedgerState&, const LedgerHead&) { return {}; }
};
inline constexpr std::uint64_t kSnapshotEvery = 4'096;  // entries

// The answer to a request: events, and the signed head after them, or the refusal.
struct LedgerReceipt {
  LedgerHead head;
  LedgerEvents events;
};
using LedgerAnswer = tl::expected<LedgerReceipt, LedgerRefused>;

// The one that gives entries their order and time. Any thread may submit; an answer is given when
// its entry is in the journal. After a journal failed, nothing more is taken: what is in memory is
// no longer what is on disk.
class LedgerSequencer {
 public:
  // Borrows both. REQUIRES that the signer is the genesis' sequencer.
  LedgerSequencer(LedgerReplay at, const Signer& signer, LedgerJournal& journal);

  Result<LedgerAnswer> Submit(std::uint64_t now_ms, LedgerRequest request);
  // One commit for all: answers in the same order.
  Result<std::vector<LedgerAnswer>> Submit(std::uint64_t now_ms,
                                           std::span<const LedgerRequest> requests);
  // Calls `look` with the ledger, while nothing changes it.
  void Look(const std::function<void(const Ledger&)>& look) const;
  LedgerHead HeadWithRoot() const;  // signed
  Status KeepNow();                 // a snapshot, before going

 private:
  LedgerHead SignedHead(bool with_root) const;
  Status KeepLocked();

  mutable std::mutex mutex_;
  LedgerReplay at_;
  const Signer& signer_;
  LedgerJournal& journal_;
  std::uint64_t kept_ = 0;  // sequence of the last snapshot
  std::string broken_;      // why nothing is taken any more
};

}  // namespace waggle
