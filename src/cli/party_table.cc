#include "cli/party_table.h"

#include "audit/trust_terms.h"
#include "telemetry/payouts.h"

namespace waggle {
namespace {

std::string RoleOf(const PartyNode& node) {
  return node.validator               ? "validator"
         : node.tamper || node.cheats ? "volunteer, cheats"
                                      : "volunteer";
}

void PrintRow(const std::string& who, const Payout& payout) {
  fmt::print("  {} {:>7} {:>8} {:>14} {:>14}\n", who, payout.batches, payout.audited,
             CreditsText(payout.paid + payout.roles + payout.bounties),
             CreditsText(payout.forfeited + payout.slashed));
}
std::string Named(const std::string& name, const std::string& role) {
  return fmt::format("{:<18} {:<18}", name, role);
}
void PrintHead(const std::string& who) {
  fmt::print("\npayouts, in units\n  {} {:>7} {:>8} {:>14} {:>14}\n", who, "batches", "audited",
             "paid", "lost");
}

Result<std::map<NodeId, Payout>> ReadPayouts(const std::filesystem::path& run, const Hash256& id) {
  WG_ASSIGN(const auto store, LedgerStore::Open((run / "ledger.db").string(),
                                                LedgerStore::Access::kRead, std::nullopt));
  return PayoutsOf(*store, LedgerRun{id});
}

}  // namespace

Status PrintPayouts(const std::filesystem::path& run, const Hash256& id, const PartyNode& host,
                    const std::vector<PartyNode>& nodes) {
  WG_ASSIGN(const auto payouts, ReadPayouts(run, id));
  const auto of = [&](const PartyNode& node) {
    const auto found = payouts.find(Party::KeyOf(node).id());
    return found == payouts.end() ? Payout{} : found->second;
  };
  PrintHead(Named("who", "as"));
  PrintRow(Named(host.name, "host, trainer"), of(host));
  for (const PartyNode& node : nodes) PrintRow(Named(node.name, RoleOf(node)), of(node));
  return {};
}

Status PrintPayouts(const std::filesystem::path& run, const Hash256& id) {
  if (!std::filesystem::exists(run / "ledger.db")) return {};
  WG_ASSIGN(const auto payouts, ReadPayouts(run, id));
  PrintHead(fmt::format("{:<62}", "who"));
  for (const auto& [node, payout] : payouts) PrintRow(ToText(node), payout);
  PrintEvidence(run);
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
