#include "store/ledger_submit.h"

#include "base/hex.h"

namespace waggle {
namespace {

constexpr std::uint64_t kPage = 10'000;

// The entry of this very request. One author's nonces come in their order, so that a nonce that is
// used up is in the log.
Result<std::optional<std::uint64_t>> Find(LedgerStore& store, const LedgerRequest& request) {
  for (std::uint64_t next = 1;;) {
    WG_ASSIGN(const auto records, store.Read(next, kPage));
    if (records.empty()) return std::optional<std::uint64_t>();
    for (const LogRecord& record : records) {
      WG_ASSIGN(const LedgerEntry entry, DecodeEntry(record.entry));
      if (entry.request == request) return std::optional(entry.sequence);
    }
    next += records.size();
  }
}

}  // namespace

Result<LedgerRequest> ParseRequestText(std::string_view text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r' || text.back() == ' '))
    text.remove_suffix(1);
  if (text.starts_with("0x")) text.remove_prefix(2);
  if (text.size() > 2 * kEntryBytesMax) return Fail(Blame::kPeer, "longer than any request");
  const auto raw = FromHex(text);
  if (!raw || raw->empty()) return Fail(Blame::kPeer, "no hexadecimal text");
  return DecodeRequest({reinterpret_cast<const std::uint8_t*>(raw->data()), raw->size()});
}

Result<SubmitAnswer> SubmitRequest(const std::string& where, const LedgerRequest& request,
                                   const Signer& sequencer, std::uint64_t now_ms,
                                   const ReadersCheck& check) {
  LedgerGenesis genesis;
  {
    WG_ASSIGN(const auto reader,
              LedgerStore::Open(where, LedgerStore::Access::kRead, std::nullopt));
    genesis = reader->genesis();
  }
  if (genesis.sequencer != sequencer.id())
    return Fail(Blame::kOperator, "the ledger is sequenced by {}, this key is {}",
                ToText(genesis.sequencer), ToText(sequencer.id()));
  // From here on nobody else writes.
  WG_ASSIGN(const auto store, LedgerStore::Open(where, LedgerStore::Access::kWrite, genesis));
  WG_ASSIGN(LedgerReplay replay, store->Load());
  const Ledger& ledger = replay.ledger();
  if (request.nonce < ledger.NonceOf(request.author)) {
    WG_ASSIGN(const auto found, Find(*store, request));
    if (found) return SubmitAnswer(SubmittedRequest{*found, true, {}});
  }
  if (const auto why = check ? check(ledger, request) : std::nullopt)
    return SubmitAnswer(LedgerRefused{LedgerRefusal::kNotAllowed, *why});
  LedgerSequencer line(std::move(replay), sequencer, *store);
  WG_ASSIGN(LedgerAnswer answer, line.Submit(now_ms, request));
  if (!answer) return SubmitAnswer(std::move(answer.error()));
  return SubmitAnswer(SubmittedRequest{answer->head.sequence, false, std::move(answer->events)});
}

}  // namespace waggle
