#include "telemetry/payouts.h"

namespace waggle {
namespace {

constexpr std::uint64_t kRecordsAtOnce = 4096;

}  // namespace

Result<std::map<NodeId, Payout>> PayoutsOf(LedgerStore& store, const LedgerRun& run) {
  LedgerReplay replay(store.genesis());
  PayoutBook book;
  for (std::uint64_t next = 1;;) {
    WG_ASSIGN(const auto records, store.Read(next, kRecordsAtOnce));
    if (records.empty()) break;
    for (const LogRecord& record : records) {
      WG_ASSIGN(const LedgerEvents events, replay.Feed(record));
      book.See(events);
    }
    next += records.size();
  }
  return book.Run(run);
}

}  // namespace waggle
