#include "ledger/events.h"

namespace waggle {
namespace {

struct KindRow {
  std::string_view name;
  BalanceEffect effect;
};

constexpr BalanceEffect kIn{1, 0}, kOut{-1, 0}, kNone{};

constexpr KindRow kRows[] = {
    {"deposited", kIn},        {"withdrawn", kOut},
    {"transferred", {-1, 1}},  {"run-opened", kNone},
    {"budget-locked", kOut},   {"budget-returned", kIn},
    {"run-closed", kNone},     {"staked", kOut},
    {"unbonding", kNone},      {"unbond-cancelled", kNone},
    {"stake-taken", kIn},      {"validator-joined", kNone},
    {"validator-left", kNone}, {"batch-committed", kNone},
    {"pay-fixed", kNone},      {"epoch-sealed", kNone},
    {"price-moved", kNone},    {"beacon-forfeited", kNone},
    {"beacon-set", kNone},     {"audit-drawn", kNone},
    {"auditor-drawn", kNone},  {"verdict", kNone},
    {"canary-shown", kNone},   {"canary-missed", kNone},
    {"canary-found", kIn},     {"accused", kOut},
    {"contested", kOut},       {"found-guilty", kNone},
    {"found-innocent", kNone}, {"dispute-lapsed", kNone},
    {"bond-returned", kIn},    {"bond-won", kIn},
    {"bond-burned", kNone},    {"paid", kIn},
    {"pay-vesting", kNone},    {"vested", kIn},
    {"pay-forfeited", kNone},  {"pay-unspent", kNone},
    {"role-paid", kIn},        {"unspent", kNone},
    {"slashed", kNone},        {"bounty", kIn},
    {"burned", kNone},         {"insured", kNone},
    {"unavailable", kNone},    {"jailed", kNone},
    {"suspected", kNone},      {"expelled", kNone},
    {"epoch-settled", kNone},
};
static_assert(std::size(kRows) == kLedgerEventKinds);

}  // namespace

std::string_view ToString(LedgerEventKind kind) {
  return kRows[static_cast<std::size_t>(kind) - 1].name;
}
BalanceEffect EffectOf(LedgerEventKind kind) {
  return kRows[static_cast<std::size_t>(kind) - 1].effect;
}

}  // namespace waggle
