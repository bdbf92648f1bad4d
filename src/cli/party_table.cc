#include "cli/party_table.h"

#include "roles/payouts.h"
#include "roles/trust_terms.h"

namespace waggle {
namespace {

std::string RoleOf(const PartyNode& node) {
  return node.validator ? "validator" : node.tamper ? "volunteer, cheats" : "volunteer";
}

void PrintRow(const std::string& name, const std::string& role, const Payout& payout) {
  fmt::print("  {:<18} {:<18} {:>7} {:>8} {:>14} {:>14}\n", name, role, payout.batches,
             payout.audited, CreditsText(payout.paid + payout.roles + payout.bounties),
             CreditsText(payout.forfeited + payout.slashed));
}

}  // namespace

Status PrintPayouts(const std::filesystem::path& run, const Hash256& id, const PartyNode& host,
                    const std::vector<PartyNode>& nodes) {
  WG_ASSIGN(const auto store, LedgerStore::Open((run / "ledger.db").string(),
                                                LedgerStore::Access::kRead, std::nullopt));
  WG_ASSIGN(const auto payouts, PayoutsOf(*store, LedgerRun{id}));
  const auto of = [&](const PartyNode& node) {
    const auto found = payouts.find(Party::KeyOf(node).id());
    return found == payouts.end() ? Payout{} : found->second;
  };
  fmt::print("\npayouts, in units\n  {:<18} {:<18} {:>7} {:>8} {:>14} {:>14}\n", "who", "as",
             "batches", "audited", "paid", "lost");
  PrintRow(host.name, "host, trainer", of(host));
  for (const PartyNode& node : nodes) PrintRow(node.name, RoleOf(node), of(node));
  return {};
}

void PrintEvidence(const std::filesystem::path& run) {
  std::error_code error;
  for (const auto& entry :
       std::filesystem::directory_iterator(run / "audits" / "evidence", error)) {
    fmt::print("\nevidence           {0}\n                   ./waggle verify {0} --inputs {1}\n",
               entry.path().string(), run.string());
  }
}

}  // namespace waggle
