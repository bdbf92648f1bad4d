#include "audit/ledger_follower.h"

#include "audit/round_keeper.h"

namespace waggle {

std::optional<std::string> LedgerFollower::Hear(const LedgerEntries& message, const NodeId& host,
                                                const Seen& seen) {
  if (!replay_) {
    if (!message.genesis) return "a ledger without a beginning";
    replay_.emplace(*message.genesis);
  }
  for (std::size_t i = 0; i < message.entries.size(); ++i) {
    if (message.first + i <= ledger()->state().sequence) continue;  // heard before
    const auto events = replay_->Feed({message.entries[i], std::nullopt, message.heads[i]});
    if (!events) return events.error().what;
    const auto entry = DecodeEntry(message.entries[i]);
    if (const auto* drand = std::get_if<BeaconExternal>(&entry->request.body);
        drand != nullptr && drand->run == run_) {
      if (auto why = WhyNotBeacon(run()->terms, *drand)) return why;
    }
    seen(*entry, *events);
  }
  if (run() != nullptr && run()->terms.orchestrator != host)
    return "the run in this ledger has another orchestrator";
  caught_up_ = run() != nullptr;
  return std::nullopt;
}

}  // namespace waggle
