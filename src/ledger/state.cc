#include "ledger/state.h"

#include <algorithm>

#include "crypto/keccak.h"
#include "ledger/balance_tree.h"

namespace waggle {
namespace {

constexpr std::size_t kStateBytesMax = std::size_t{1} << 30;
constexpr std::size_t kManyMax = std::size_t{1} << 24;  // rows of anything, in a snapshot of ours

}  // namespace

// A map is encoded as the list of its rows, in order; reading refuses any other order.
namespace ledger_internal {

template <class K, class M>
struct Row {
  K key{};
  M value{};
};
template <class K>
struct KeyRow {
  K key{};
};
template <class R, class V>
requires requires(R r) { r.value; }
void Fields(R& x, V&& v) {
  v(1, "key", x.key);
  v(2, "value", x.value);
}
template <class R, class V>
requires(!requires(R r) { r.value; }) void Fields(R& x, V&& v) { v(1, "key", x.key); }

template <class V>
inline constexpr bool kIsReader = std::is_same_v<std::remove_cvref_t<V>, WireReader>;

template <class K, class M, class V>
void MapField(std::uint8_t number, const char* name, std::map<K, M>& map, V&& v);
template <class K, class M, class V>
void MapField(std::uint8_t number, const char* name, const std::map<K, M>& map, V&& v);
template <class K, class V>
void SetField(std::uint8_t number, const char* name, std::set<K>& set, V&& v);
template <class K, class V>
void SetField(std::uint8_t number, const char* name, const std::set<K>& set, V&& v);

}  // namespace ledger_internal

using ledger_internal::MapField;
using ledger_internal::SetField;

WG_LEDGER_FIELDS(LedgerAccount) {
  v(1, "nonce", x.nonce);
  v(2, "balance", x.balance);
  v(3, "earned", x.earned);
}
WG_LEDGER_FIELDS(Unbonding) {
  v(1, "id", x.id);
  v(2, "amount", x.amount);
  v(3, "ready_ms", x.ready_ms);
}
WG_LEDGER_FIELDS(RunMember) {
  v(1, "active", x.active);
  v.Structs(2, "unbonding", x.unbonding, kManyMax);
  v(3, "next_unbonding", x.next_unbonding);
  v(4, "frozen", x.frozen);
  v(5, "unsettled", x.unsettled);
  v(6, "expelled", x.expelled);
  v(7, "jailed_until_ms", x.jailed_until_ms);
  v(8, "unavailable", x.unavailable);
  v(9, "suspect_until_epoch", x.suspect_until_epoch);
  v.Numbers(10, "offences_ms", x.offences_ms, kManyMax);
  v(11, "first_epoch", x.first_epoch);
  v(12, "vesting", x.vesting);
  v(13, "vested", x.vested);
}
WG_LEDGER_FIELDS(AuditorSeat) {
  v(1, "validator", x.validator);
  v(2, "finding", x.finding);
  v(3, "reason", x.reason);
  v(4, "evidence", x.evidence);
  v(5, "activation", x.activation);
}
WG_LEDGER_FIELDS(LedgerBatch) {
  v(1, "claim", x.claim);
  v(2, "state", x.state);
  v(3, "pay", x.pay);
  v(4, "chance", x.chance);
  v(5, "audited", x.audited);
  v(6, "audited_whole", x.audited_whole);
  v.Numbers(7, "items", x.items, kManyMax);
  v.Structs(8, "auditors", x.auditors, kManyMax);
  v.Numbers(9, "disputes", x.disputes, kManyMax);
  v(10, "contest_until_ms", x.contest_until_ms);
  v(11, "contested", x.contested);
  v(12, "canary", x.canary);
  v(13, "canary_bad", x.canary_bad);
}
WG_LEDGER_FIELDS(BeaconSeat) {
  v(1, "hash", x.hash);
  v(2, "secret", x.secret);
}
WG_LEDGER_FIELDS(LedgerEpoch) {
  v(1, "phase", x.phase);
  v(2, "sealed_ms", x.sealed_ms);
  v(3, "beacon_ms", x.beacon_ms);
  v(4, "beacon", x.beacon);
  MapField(5, "seats", x.seats, v);
  MapField(6, "batches", x.batches, v);
  SetField(7, "canaries", x.canaries, v);
  v(8, "canaries_shown", x.canaries_shown);
  v(9, "trainer", x.trainer);
  v(10, "data", x.data);
  v(11, "validators", x.validators);
}
WG_LEDGER_FIELDS(PastSlash) {
  v(1, "at_ms", x.at_ms);
  v(2, "who", x.who);
  v(3, "amount", x.amount);
}
WG_LEDGER_FIELDS(LedgerRunState) {
  v(1, "sponsor", x.sponsor);
  v(2, "terms", x.terms);
  v(3, "closed", x.closed);
  v(4, "budget", x.budget);
  v(5, "insurance", x.insurance);
  v(6, "carry", x.carry);
  v(7, "price", x.price);
  v(8, "total_stake", x.total_stake);
  v(9, "epoch", x.epoch);
  v(10, "settled", x.settled);
  v(11, "active_ms", x.active_ms);
  MapField(12, "members", x.members, v);
  MapField(13, "epochs", x.epochs, v);
  v.Structs(14, "slashes", x.slashes, kManyMax);
  SetField(15, "validators", x.validators, v);
}
WG_LEDGER_FIELDS(LedgerDispute) {
  v(1, "run", x.run);
  v(2, "epoch", x.epoch);
  v(3, "worker", x.worker);
  v(4, "by", x.by);
  v(5, "about", x.about);
  v(6, "bond", x.bond);
  v(7, "evidence", x.evidence);
  v(8, "opened_ms", x.opened_ms);
  MapField(9, "votes", x.votes, v);
}
WG_LEDGER_FIELDS(LedgerState) {
  v(1, "sequence", x.sequence);
  v(2, "at_ms", x.at_ms);
  v(3, "next_dispute", x.next_dispute);
  v(4, "supply", x.supply);
  v(5, "burned", x.burned);
  v(6, "treasury", x.treasury);
  MapField(7, "accounts", x.accounts, v);
  MapField(8, "runs", x.runs, v);
  MapField(9, "disputes", x.disputes, v);
}

namespace ledger_internal {

template <class K, class M, class V>
void MapField(std::uint8_t number, const char* name, const std::map<K, M>& map, V&& v) {
  std::vector<Row<K, M>> rows;
  rows.reserve(map.size());
  for (const auto& [key, value] : map) rows.push_back({key, value});
  v.Structs(number, name, rows, kManyMax);
}
template <class K, class M, class V>
void MapField(std::uint8_t number, const char* name, std::map<K, M>& map, V&& v) {
  if constexpr (!kIsReader<V>) {
    MapField(number, name, std::as_const(map), v);
  } else {
    std::vector<Row<K, M>> rows;
    v.Structs(number, name, rows, kManyMax);
    for (Row<K, M>& row : rows) map.emplace_hint(map.end(), row.key, std::move(row.value));
  }
}
template <class K, class V>
void SetField(std::uint8_t number, const char* name, const std::set<K>& set, V&& v) {
  std::vector<KeyRow<K>> rows;
  for (const K& key : set) rows.push_back({key});
  v.Structs(number, name, rows, kManyMax);
}
template <class K, class V>
void SetField(std::uint8_t number, const char* name, std::set<K>& set, V&& v) {
  if constexpr (!kIsReader<V>) {
    SetField(number, name, std::as_const(set), v);
  } else {
    std::vector<KeyRow<K>> rows;
    v.Structs(number, name, rows, kManyMax);
    for (const KeyRow<K>& row : rows) set.insert(set.end(), row.key);
  }
}

}  // namespace ledger_internal

namespace {

// From the least grave to the gravest.
int GravityOf(Finding finding) {
  switch (finding) {
    case Finding::kAccepted:
    case Finding::kFault:
      return 0;
    case Finding::kStatistical:
      return 1;
    case Finding::kUnavailable:
      return 2;
    case Finding::kInvalid:
      return 3;
    case Finding::kWrong:
      return 4;
  }
  return 0;
}

Credits TotalOf(const LedgerEpoch& epoch) {
  Credits sum = epoch.trainer + epoch.data + epoch.validators;
  for (const auto& [worker, batch] : epoch.batches) {
    if (batch.state == BatchState::kPending) sum += batch.pay;
  }
  return sum;
}

Credits TotalOf(const LedgerRunState& run) {
  Credits sum = run.budget + run.insurance;
  for (const auto& [node, member] : run.members)
    sum += member.AtStake() + member.vesting - member.vested;
  for (const auto& [number, epoch] : run.epochs) sum += TotalOf(epoch);
  return sum;
}

}  // namespace

Finding LedgerBatch::Worst() const {
  Finding worst = Finding::kAccepted;
  for (const AuditorSeat& seat : auditors) {
    if (seat.finding && GravityOf(*seat.finding) > GravityOf(worst)) worst = *seat.finding;
  }
  return worst;
}

Credits TotalOf(const LedgerState& state) {
  Credits sum = state.burned + state.treasury;
  for (const auto& [node, account] : state.accounts) sum += account.balance;
  for (const auto& [id, run] : state.runs) sum += TotalOf(run);
  for (const auto& [id, dispute] : state.disputes) sum += dispute.bond;
  return sum;
}

Bytes Encode(const LedgerState& state) { return WireEncode(state, kStateBytesMax); }

Result<LedgerState> DecodeState(std::span<const std::uint8_t> bytes) {
  auto state = WireDecode<LedgerState>(bytes, kStateBytesMax);
  if (!state) return Fail(Blame::kMachine, "a snapshot of the ledger: {}", state.error().what);
  if (!std::ranges::equal(Encode(*state), bytes))
    return Fail(Blame::kMachine, "a snapshot of the ledger is not in its one encoding");
  return *state;
}

StateRoots RootsOf(const LedgerState& state) {
  StateRoots roots;
  roots.state = Keccak256(Encode(state));
  if (state.accounts.empty()) return roots;
  roots.balances = BalanceTree(LeavesOf(state, TreeOf::kBalances)).root();
  roots.earned = BalanceTree(LeavesOf(state, TreeOf::kEarned)).root();
  return roots;
}

Digest256 StateRoots::Root() const {
  constexpr std::string_view kLabel = "waggle-ledger-root-1";
  Bytes bytes(kLabel.begin(), kLabel.end());
  for (const Digest256* part : {&state, &balances, &earned})
    bytes.insert(bytes.end(), part->begin(), part->end());
  return Keccak256(bytes);
}

}  // namespace waggle
