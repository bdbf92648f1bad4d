// What a validator remembers of the nodes that it audits, so that small deviations which no single
// group shows are found over hundreds of them. Bounded, saved, the same on every machine that is
// fed the same batches in the same order.
//
// The test. Let e(n) be what one bet (sampling_bets.h) paid for all audited tokens of a node's n-th
// batch: for an honest node its mean is at most 1, whatever came before. Somebody who puts aside
// w(n) = 1/(n(n+1)) of a unit for a fresh bet at batch n owns, after batch n,
//     S(n) = e(n) (S(n-1) + w(n)),   and   M(n) = S(n) + the unit's part that is not yet bet.
// M is a non-negative supermartingale that begins with 1 (the w sum to 1), so by Ville's inequality
// the chance that it ever reaches K/a is at most a/K, over the node's whole life: it may be looked
// at after every batch, for ever. K bets with one unit each: the chance that any of them ever finds
// an honest node is at most a = kFalseAlarms. What is kept is the logarithm of
//     S'(n) = e(n) max(S'(n-1), w(n)) <= S(n),
// in integers: one sum for each bet. The fresh bets are why a node cannot save up: after n honest
// batches it is found nearly as fast as a new one, ln n(n+1) nats later.
//
// Once found, a record stays at the limit: who goes on is found with its next batch, who mends
// leaves it behind as fast as the bets lose. The guarantee is for the first finding.
//
// The rate is a node's at one validator; of v validators that audit it, at most v times as much.
// What a finding means is the ledger's `statistical`: unpaid, never slashed.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "base/wire.h"
#include "crypto/identity.h"
#include "proofs/fingerprint/sampling_bets.h"

namespace waggle {

inline constexpr double kFalseAlarms = 1e-6;      // per node and validator, ever
inline constexpr std::size_t kRecordsMax = 4096;  // nodes; then who was not seen for longest goes
inline constexpr std::size_t kRecordBytesMax = std::size_t{2} << 20;

class NodeRecords {
 public:
  struct Found {
    std::string what;  // of the bet that won most
    std::string why;
    std::uint64_t batches = 0;  // of the node, this one among them
  };
  // A batch that was audited, once for each; epochs ascend for a node. One of the newest epoch
  // again (a validator that died before its verdict was in the ledger) gets the same answer and
  // counts once; an older one is not counted and finds nothing.
  std::optional<Found> Feed(const NodeId& node, std::uint64_t epoch, const SamplingBets& bets);

  // Nats that are missing to a finding, of the bet that is nearest. Nothing: not known.
  std::optional<double> DistanceOf(const NodeId& node) const;
  std::size_t size() const { return nodes_.size(); }

  // One value, one sequence of bytes. Decode refuses (Blame::kMachine: it is our own file) what
  // Encode does not write, and records of other bets than these.
  Bytes Encode() const;
  static Result<NodeRecords> Decode(std::span<const std::uint8_t> bytes);

 private:
  struct Record {
    std::uint64_t epoch = 0, batches = 0, tokens = 0;
    std::uint64_t fed = 0;                          // when, in feedings of anybody
    std::array<std::int64_t, kSamplingBets> own{};  // log S', millionths of a nat
    bool found = false;                             // with the batch of `epoch`
  };
  std::optional<Found> Answer(const Record& record) const;

  std::map<NodeId, Record> nodes_;
  std::uint64_t fed_ = 0;
};

}  // namespace waggle
