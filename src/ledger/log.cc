#include "ledger/log.h"

#include "crypto/keccak.h"

namespace waggle {
namespace {

constexpr std::size_t kHeadBytesMax = 1'024;

}  // namespace

bool WantsRoot(const LedgerBody& body) {
  return std::holds_alternative<SettleEpoch>(body) || std::holds_alternative<CloseRun>(body);
}

void SignHead(const Signer& sequencer, LedgerHead& head) {
  head.signature = sequencer.Sign(kHeadDomain, WireEncode(head, kHeadBytesMax));
}

bool HeadHolds(const LedgerGenesis& genesis, const LedgerHead& head, const SignatureCheck& check) {
  return head.ledger == IdOf(genesis) &&
         check(genesis.sequencer, kHeadDomain, WireEncode(head, kHeadBytesMax), head.signature);
}

Digest256 NextChain(const Digest256& chain, std::span<const std::uint8_t> entry) {
  Bytes bytes(chain.begin(), chain.end());
  bytes.insert(bytes.end(), entry.begin(), entry.end());
  return Keccak256(bytes);
}

LedgerReplay::LedgerReplay(const LedgerGenesis& genesis, SignatureCheck check)
    : ledger_(genesis, check), chain_(ledger_.id().value), check_(std::move(check)) {}

LedgerReplay::LedgerReplay(Ledger ledger, const Digest256& chain, SignatureCheck check)
    : ledger_(std::move(ledger)), chain_(chain), check_(std::move(check)) {}

LedgerHead LedgerReplay::Head() const {
  return {ledger_.id(), ledger_.state().sequence, ledger_.state().at_ms, chain_, std::nullopt, {}};
}

Result<LedgerEvents> LedgerReplay::Feed(const LogRecord& record) {
  const std::uint64_t number = ledger_.state().sequence + 1;
  WG_ASSIGN(const LedgerEntry entry, DecodeEntry(record.entry));
  // The head first: whose log this is, before what is in it.
  LedgerHead head{ledger_.id(), number,
                  entry.at_ms,  NextChain(chain_, record.entry),
                  record.root,  record.head_signature};
  if (!HeadHolds(ledger_.genesis(), head, check_))
    return Fail(Blame::kPeer, "entry {}: the sequencer did not sign this chain", number);
  LedgerOutcome outcome = ledger_.Apply(entry);
  if (!outcome)
    return Fail(Blame::kPeer, "entry {}: {} is refused ({}): {}", number,
                NameOf(entry.request.body), ToString(outcome.error().why), outcome.error().what);
  if (record.root && ledger_.Root() != *record.root)
    return Fail(Blame::kPeer, "entry {}: the state has another root than the log says", number);
  chain_ = head.chain;
  return std::move(*outcome);
}

LedgerSequencer::LedgerSequencer(LedgerReplay at, const Signer& signer, LedgerJournal& journal)
    : at_(std::move(at)), signer_(signer), journal_(journal) {
  kept_ = at_.ledger().state().sequence;
  Check(signer.id() == at_.ledger().genesis().sequencer, "this ledger's sequencer signs its heads");
}

Result<LedgerAnswer> LedgerSequencer::Submit(std::uint64_t now_ms, LedgerRequest request) {
  WG_ASSIGN(auto answers, Submit(now_ms, std::span(&request, 1)));
  return std::move(answers.front());
}

Result<std::vector<LedgerAnswer>> LedgerSequencer::Submit(std::uint64_t now_ms,
                                                          std::span<const LedgerRequest> requests) {
  const std::scoped_lock lock(mutex_);
  if (!broken_.empty())
    return Fail(Blame::kMachine, "the ledger stopped when its journal failed: {}", broken_);
  std::vector<LedgerAnswer> answers;
  std::vector<LogRecord> records;
  for (const LedgerRequest& request : requests) {
    Ledger& ledger = at_.ledger();
    const LedgerEntry entry = ledger.Next(now_ms, request);
    LedgerOutcome outcome = ledger.Apply(entry);
    if (!outcome) {
      answers.push_back(tl::unexpected(std::move(outcome.error())));
      continue;
    }
    LogRecord record{Encode(entry), std::nullopt, {}};
    at_.Advance(record.entry);
    LedgerHead head = SignedHead(WantsRoot(request.body));
    record.root = head.root;
    record.head_signature = head.signature;
    records.push_back(std::move(record));
    answers.push_back(LedgerReceipt{head, std::move(*outcome)});
  }
  if (records.empty()) return answers;
  if (Status kept = journal_.Append(records); !kept) {
    broken_ = kept.error().what;
    return Forward(std::move(kept.error()));
  }
  // What was answered is safe already: a snapshot that failed is tried again after the next one.
  if (at_.ledger().state().sequence >= kept_ + kSnapshotEvery) static_cast<void>(KeepLocked());
  return answers;
}

LedgerHead LedgerSequencer::SignedHead(bool with_root) const {
  LedgerHead head = at_.Head();
  if (with_root) head.root = at_.ledger().Root();
  SignHead(signer_, head);
  return head;
}

Status LedgerSequencer::KeepLocked() {
  WG_TRY(journal_.Keep(at_.ledger().state(), SignedHead(/*with_root=*/true)));
  kept_ = at_.ledger().state().sequence;
  return {};
}

Status LedgerSequencer::KeepNow() {
  const std::scoped_lock lock(mutex_);
  if (!broken_.empty() || at_.ledger().state().sequence == kept_) return {};
  return KeepLocked();
}

void LedgerSequencer::Look(const std::function<void(const Ledger&)>& look) const {
  const std::scoped_lock lock(mutex_);
  look(at_.ledger());
}

LedgerHead LedgerSequencer::HeadWithRoot() const {
  const std::scoped_lock lock(mutex_);
  return SignedHead(/*with_root=*/true);
}

}  // namespace waggle
