// What validators say miners are worth, before an epoch turns it into pay: who may say it, how
// often, and, with commit-reveal, first as a hash and a period later in the open. Without that a
// validator could copy what the others just said and earn with no work at all.
//
// A state machine without I/O; the caller says the height. Nothing here is held by stake or keys:
// the caller has checked who speaks.
//
// Source: sheet grail.md 5.3. The plain form is here: commit = BLAKE2-256 over a canonical
// encoding. The time-lock form (encryption to a drand round) is not: it needs identity-based
// encryption, and its legacy payload can be replayed (sheet, same place).
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "base/result.h"
#include "base/wire.h"
#include "crypto/hash.h"
#include "ledger/yuma.h"

namespace waggle {

using WeightsKey = std::array<std::uint8_t, 32>;

// What is revealed. The key is in it, so nobody can reveal a copy of somebody else's commit; the
// salt keeps few possible weights from being guessed.
struct WeightsPayload {
  WeightsKey who{};
  std::uint16_t market = 0;
  std::vector<std::uint16_t> uids, values;
  std::array<std::uint8_t, 32> salt{};
  std::uint64_t version = 0;
  bool operator==(const WeightsPayload&) const = default;
};
inline constexpr std::size_t kWeightsMax = kYumaNeuronsMax;
inline constexpr std::size_t kWeightsPayloadBytesMax = 4 * kWeightsMax + 256;

template <class T, class V>
requires std::same_as<std::remove_const_t<T>, WeightsPayload>
void Fields(T& x, V&& v) {
  v(1, "who", x.who);
  v(2, "market", x.market);
  v.Numbers(3, "uids", x.uids, kWeightsMax);
  v.Numbers(4, "values", x.values, kWeightsMax);
  v(5, "salt", x.salt);
  v(6, "version", x.version);
}
// REQUIRES at most kWeightsMax weights.
Digest256 CommitOf(const WeightsPayload& payload);

struct WeightsSettings {
  std::uint16_t market = 0;
  std::uint64_t tempo = 360;        // blocks of an epoch
  std::uint64_t rate_limit = 100;   // blocks between two settings in the open
  std::uint64_t stake_min = 0;      // units
  std::uint64_t version = 0;        // of the scoring code, at least
  std::uint32_t weights_min = 1;    // entries, or as many as there are neurons
  std::uint16_t share_max = 65535;  // of one miner, of 65535
  bool commit_reveal = true;
  std::uint64_t reveal_after = 1;  // epochs
  std::uint32_t unrevealed_max = 10;
};

// Who speaks, as the ledger knows it now.
struct WeightsSpeaker {
  std::uint16_t uid = 0;
  WeightsKey who{};
  std::uint64_t stake = 0;
  bool permit = false;  // without it one may weigh only oneself
};

class WeightsBook {
 public:
  explicit WeightsBook(const WeightsSettings& settings);

  // Refusals of all three are Blame::kPeer and leave the book as it was.
  Status Set(const WeightsSpeaker& speaker, const WeightsPayload& payload, std::uint64_t now);
  Status Commit(const WeightsSpeaker& speaker, const Digest256& commit, std::uint64_t now);
  // Exactly in epoch (epoch of the commit) + reveal_after.
  Status Reveal(const WeightsSpeaker& speaker, const WeightsPayload& payload, std::uint64_t now);

  // A new neuron takes this uid: what its predecessor said is gone. Uids grow one by one.
  Status Register(std::uint16_t uid, std::uint64_t now);

  std::uint64_t EpochOf(std::uint64_t height) const { return height / settings_.tempo; }
  // The rows, and what of each neuron the epoch needs to know; the caller adds stake and permits.
  // Commits that can no longer be revealed are forgotten. REQUIRES now not before earlier calls.
  YumaEpoch Epoch(std::uint64_t now, std::uint64_t last_epoch);

 private:
  struct Pending {
    Digest256 commit;
    std::uint64_t height = 0;
  };
  struct Entry {
    YumaRow row;
    std::uint64_t registered_at = 0, last_update = 0;
    std::optional<std::uint64_t> last_set;
    std::deque<Pending> pending;  // oldest first
  };

  Status CheckSpeaker(const WeightsSpeaker& speaker) const;
  // The row that the payload says, the largest value scaled to 65535.
  Result<YumaRow> RowOf(const WeightsSpeaker& speaker, const WeightsPayload& payload) const;
  void Forget(Entry& entry, std::uint64_t now) const;

  const WeightsSettings settings_;
  std::vector<Entry> entries_;
};

}  // namespace waggle
