// Any bytes as an entry: what reads, writes back the same, and no entry makes the ledger lose count
// of its money.
#include <algorithm>

#include "base/check.h"
#include "ledger/ledger.h"

using namespace waggle;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span bytes(data, size);
  const auto entry = DecodeEntry(bytes);
  if (!entry) return 0;
  Check(std::ranges::equal(Encode(*entry), bytes), "one entry, one encoding");
  const NodeId& author = entry->request.author;
  // The author may be everybody who matters, so that more is let in.
  Ledger ledger({"fuzz", author, author}, TrustSignatures);
  const auto ask = [&](const NodeId& who, LedgerBody body) {
    return ledger.Apply(ledger.Next(1, {who, ledger.NonceOf(who), std::move(body), {}}));
  };
  static_cast<void>(ask(author, Deposit{author, Credits{1'000'000'000}, {}}));
  LedgerEntry mine = *entry;
  mine.sequence = ledger.state().sequence + 1;
  mine.request.nonce = ledger.NonceOf(author);
  const Digest256 before = ledger.Root();
  const auto outcome = ledger.Apply(mine);
  Check(outcome || ledger.Root() == before, "a refusal changes nothing");
  Check(TotalOf(ledger.state()) == ledger.state().supply, "money is neither made nor lost");
  return 0;
}
