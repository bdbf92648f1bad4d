#include "proofs/fingerprint/node_record.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "kernels/math.h"

namespace waggle {
namespace {

constexpr double kMillion = 1e6;
// Changes with the bets: what was won by others is worth nothing to these.
constexpr std::uint32_t kRule = 1;

// ln(K / a), rounded up.
std::int64_t Limit() {
  static const auto limit = static_cast<std::int64_t>(
      std::ceil(Log64(static_cast<double>(kSamplingBets) / kFalseAlarms) * kMillion));
  return limit;
}

// ln w(n), rounded down.
std::int64_t LogStake(std::uint64_t n) {
  const auto x = static_cast<double>(n);
  return static_cast<std::int64_t>(std::floor(-(Log64(x) + Log64(x + 1)) * kMillion));
}

struct StoredRecord {
  NodeId node;
  std::uint64_t epoch = 0, batches = 0, tokens = 0, fed = 0;
  std::vector<std::int64_t> own;
  bool found = false;
};
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, StoredRecord>
void Fields(T& x, V&& v) {
  v(1, "node", x.node);
  v(2, "epoch", x.epoch);
  v(3, "batches", x.batches);
  v(4, "tokens", x.tokens);
  v(5, "fed", x.fed);
  v.Numbers(6, "own", x.own, kSamplingBets);
  v(7, "found", x.found);
}

struct StoredRecords {
  std::uint32_t rule = kRule;
  std::uint64_t fed = 0;
  std::vector<StoredRecord> nodes;
};
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, StoredRecords>
void Fields(T& x, V&& v) {
  v(1, "rule", x.rule);
  v(2, "fed", x.fed);
  v.Structs(3, "nodes", x.nodes, kRecordsMax);
}

}  // namespace

std::optional<NodeRecords::Found> NodeRecords::Answer(const Record& record) const {
  if (!record.found) return std::nullopt;
  const auto most = std::max_element(record.own.begin(), record.own.end());
  const std::string what = WhatWon(static_cast<std::size_t>(most - record.own.begin()));
  return Found{what,
               fmt::format("{} batches ({} tokens) of this node together: {}", record.batches,
                           record.tokens, what),
               record.batches};
}

std::optional<NodeRecords::Found> NodeRecords::Feed(const NodeId& node, std::uint64_t epoch,
                                                    const SamplingBets& bets) {
  if (bets.tokens == 0) return std::nullopt;
  const auto known = nodes_.find(node);
  if (known != nodes_.end() && epoch <= known->second.epoch)
    return epoch == known->second.epoch ? Answer(known->second) : std::nullopt;
  if (known == nodes_.end() && nodes_.size() == kRecordsMax) {
    nodes_.erase(std::min_element(nodes_.begin(), nodes_.end(), [](const auto& a, const auto& b) {
      return a.second.fed < b.second.fed;
    }));
  }
  Record& record = nodes_[node];
  record.epoch = epoch;
  record.fed = ++fed_;
  record.tokens += bets.tokens;
  const std::int64_t stake = LogStake(++record.batches);
  record.found = false;
  for (std::size_t i = 0; i < kSamplingBets; ++i) {
    // Before its first batch a record owns nothing.
    const std::int64_t before = record.batches == 1 ? stake : std::max(record.own[i], stake);
    record.own[i] = before + bets.won[i];
    record.found = record.found || record.own[i] >= Limit();
    record.own[i] = std::min(record.own[i], Limit());
  }
  return Answer(record);
}

std::optional<double> NodeRecords::DistanceOf(const NodeId& node) const {
  const auto known = nodes_.find(node);
  if (known == nodes_.end()) return std::nullopt;
  const auto& own = known->second.own;
  return static_cast<double>(Limit() - *std::max_element(own.begin(), own.end())) / kMillion;
}

Bytes NodeRecords::Encode() const {
  StoredRecords stored{.rule = kRule, .fed = fed_, .nodes = {}};
  for (const auto& [node, r] : nodes_)
    stored.nodes.push_back(
        {node, r.epoch, r.batches, r.tokens, r.fed, {r.own.begin(), r.own.end()}, r.found});
  return WireEncode(stored, kRecordBytesMax);
}

Result<NodeRecords> NodeRecords::Decode(std::span<const std::uint8_t> bytes) {
  const auto stored = WireDecode<StoredRecords>(bytes, kRecordBytesMax);
  if (!stored) return Fail(Blame::kMachine, "records of nodes: {}", stored.error().what);
  if (stored->rule != kRule) return Fail(Blame::kMachine, "records of nodes by another rule");
  NodeRecords records;
  records.fed_ = stored->fed;
  const NodeId* last = nullptr;
  for (const StoredRecord& one : stored->nodes) {
    const bool bounded = one.own.size() == kSamplingBets &&
                         std::ranges::all_of(one.own, [](auto x) { return x <= Limit(); });
    if (!bounded || one.batches == 0 || one.fed > stored->fed ||
        (last != nullptr && !(*last < one.node)))
      return Fail(Blame::kMachine, "records of nodes: one that nobody keeps");
    last = &one.node;
    Record& record = records.nodes_[one.node];
    record = {one.epoch, one.batches, one.tokens, one.fed, {}, one.found};
    std::ranges::copy(one.own, record.own.begin());
  }
  return records;
}

}  // namespace waggle
