#include "sim/toy_policy.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace waggle {
namespace {

constexpr std::uint32_t kWeightMin = 4, kWeightMax = 60'000;

std::span<const std::uint32_t> RowAt(const ToyPolicy& policy, std::span<const TokenId> prompt,
                                     std::size_t position) {
  // The last token of the prompt only says that it is over.
  const TokenId state = position + 1 < prompt.size() ? prompt[position] : policy.end;
  return std::span(policy.table)
      .subspan(static_cast<std::size_t>(state) * policy.vocab, policy.vocab);
}

std::uint64_t SumOf(std::span<const std::uint32_t> row) {
  std::uint64_t sum = 0;
  for (const std::uint32_t weight : row) sum += weight;
  return sum;
}

// Whole numbers below 2^24 are exact floats, and so is the result everywhere.
float LogpOf(std::span<const std::uint32_t> row, TokenId token) {
  const std::uint64_t sum = SumOf(row);
  return -static_cast<float>(sum - row[static_cast<std::size_t>(token)]) / static_cast<float>(sum);
}

TokenId Race(std::span<const std::uint32_t> row, std::uint64_t luck, bool greedy) {
  if (greedy) return static_cast<TokenId>(std::max_element(row.begin(), row.end()) - row.begin());
  std::uint64_t left = luck % SumOf(row);
  std::size_t token = 0;
  while (left >= row[token]) left -= row[token++];
  return static_cast<TokenId>(token);
}

template <class T>
void Append(Bytes& bytes, const T& value) {
  const auto* begin = reinterpret_cast<const std::uint8_t*>(&value);
  bytes.insert(bytes.end(), begin, begin + sizeof value);
}
template <class T>
T Take(std::span<const std::uint8_t>& bytes) {
  T value{};
  std::memcpy(&value, bytes.data(), sizeof value);
  bytes = bytes.subspan(sizeof value);
  return value;
}

}  // namespace

ToyPolicy FirstToyPolicy(std::size_t vocab, TokenId end, std::uint64_t seed) {
  ToyPolicy policy{.vocab = vocab, .end = end, .table = {}, .salt = seed};
  policy.table.assign(vocab * vocab, 20);
  for (std::size_t state = 0; state < vocab; ++state) {
    // It half knows the task: else no text of some length would ever be copied.
    policy.table[state * vocab + state] = 400;
    policy.table[state * vocab + static_cast<std::size_t>(end)] =
        state == static_cast<std::size_t>(end) ? 2000 : 4;
  }
  return policy;
}

Hash256 RootOf(const ToyPolicy& policy) {
  return Sha256Hasher()
      .Update(std::as_bytes(std::span(policy.table)))
      .Update(std::as_bytes(std::span(&policy.salt, 1)))
      .Update(std::as_bytes(std::span(&policy.end, 1)))
      .Finish();
}

ToySample Sample(const ToyPolicy& policy, std::span<const TokenId> prompt,
                 const SamplingConfig& config, const PhiloxKey& key, std::uint32_t sample) {
  ToySample out;
  const PhiloxKey race{key[0] ^ static_cast<std::uint32_t>(policy.salt),
                       key[1] ^ static_cast<std::uint32_t>(policy.salt >> 32)};
  PhiloxCounter words{};
  for (std::uint32_t i = 0; i < config.tokens_max; ++i) {
    if (i % 2 == 0) words = Philox({i, sample, 0, 11}, race);
    const std::uint64_t luck = words[i % 2 * 2] | std::uint64_t{words[i % 2 * 2 + 1]} << 32;
    const auto row = RowAt(policy, prompt, i);
    const TokenId token = Race(row, luck, /*greedy=*/config.temperature == 0);
    out.tokens.push_back(token);
    out.logps.push_back(LogpOf(row, token));
    if (token == policy.end) return out;
  }
  out.finish = FinishReason::kLength;
  return out;
}

bool LogpsHold(const ToyPolicy& policy, std::span<const TokenId> prompt, const Rollout& rollout) {
  for (std::size_t i = 0; i < rollout.tokens.size(); ++i) {
    if (rollout.logps[i] != LogpOf(RowAt(policy, prompt, i), rollout.tokens[i])) return false;
  }
  return true;
}

Group SampleGroup(const ToyPolicy& policy, PolicyVersion version, const Lease& lease,
                  const std::vector<TokenId>& prompt) {
  Group group{.lease = lease.id, .prompt = prompt, .rollouts = {}};
  for (std::uint32_t i = 0; i < lease.group_size; ++i) {
    ToySample sample = Sample(policy, prompt, lease.sampling, lease.key, i);
    Rollout& rollout = group.rollouts.emplace_back();
    rollout.loss_mask.assign(sample.tokens.size(), 1);
    rollout.tokens = std::move(sample.tokens);
    rollout.logps = std::move(sample.logps);
    rollout.finish = sample.finish;
    rollout.spans = {{0, version}};
  }
  return group;
}

ToyPolicy Train(const ToyPolicy& policy, const std::vector<ScoredGroup>& groups) {
  ToyPolicy next = policy;
  Sha256Hasher hasher;
  hasher.Update(std::as_bytes(std::span(&policy.salt, 1)));
  for (const ScoredGroup& scored : groups) {
    hasher.Update(std::as_bytes(std::span(&scored.group.lease.value, 1)));
    double mean = 0;
    for (const auto& reward : scored.rewards) mean += reward.value_or(0.0);
    mean /= static_cast<double>(scored.rewards.size());
    for (std::size_t i = 0; i < scored.rewards.size(); ++i) {
      const Rollout& rollout = scored.group.rollouts[i];
      hasher.Update(std::as_bytes(std::span(rollout.tokens)));
      const auto credit = static_cast<std::int64_t>((scored.rewards[i].value_or(0.0) - mean) * 64);
      for (std::size_t at = 0; at < rollout.tokens.size(); ++at) {
        const auto row = RowAt(policy, scored.group.prompt, at);
        const auto cell = static_cast<std::size_t>(row.data() - policy.table.data()) +
                          static_cast<std::size_t>(rollout.tokens[at]);
        next.table[cell] = static_cast<std::uint32_t>(
            std::clamp<std::int64_t>(next.table[cell] + credit, kWeightMin, kWeightMax));
      }
    }
  }
  const Digest256 digest = hasher.Finish();
  std::memcpy(&next.salt, digest.data(), sizeof next.salt);
  return next;
}

ToyBlob SnapshotOf(const ToyPolicy& policy) {
  ToyBlob blob{.base = std::nullopt, .root = RootOf(policy), .payload = {}};
  Append(blob.payload, static_cast<std::uint32_t>(policy.vocab));
  Append(blob.payload, policy.end);
  Append(blob.payload, policy.salt);
  for (const std::uint32_t weight : policy.table) Append(blob.payload, weight);
  return blob;
}

ToyBlob DeltaOf(const ToyPolicy& from, const ToyPolicy& to) {
  Check(from.table.size() == to.table.size(), "versions of one policy have one shape");
  ToyBlob blob{.base = RootOf(from), .root = RootOf(to), .payload = {}};
  Append(blob.payload, to.salt);
  for (std::size_t i = 0; i < to.table.size(); ++i) {
    if (from.table[i] == to.table[i]) continue;
    Append(blob.payload, static_cast<std::uint32_t>(i));
    Append(blob.payload, to.table[i]);
  }
  return blob;
}

Hash256 ManifestOf(const ToyBlob& blob) {
  const Digest256 payload = Sha256(blob.payload);
  Sha256Hasher hasher;
  hasher.Update(blob.base.value_or(Hash256{})).Update(blob.root).Update(payload);
  return hasher.Finish();
}

Result<ToyPolicy> Apply(const ToyBlob& blob, const ToyPolicy* held, bool check_root) {
  std::span<const std::uint8_t> bytes = blob.payload;
  ToyPolicy policy;
  if (blob.base) {
    if (held == nullptr || (check_root && RootOf(*held) != *blob.base))
      return Fail(Blame::kPeer, "a delta from a version that is not held");
    if (bytes.size() < 8 || bytes.size() % 8 != 0) return Fail(Blame::kPeer, "a torn delta");
    policy = *held;
    policy.salt = Take<std::uint64_t>(bytes);
    while (!bytes.empty()) {
      const auto at = Take<std::uint32_t>(bytes);
      const auto weight = Take<std::uint32_t>(bytes);
      if (at >= policy.table.size() || weight == 0) return Fail(Blame::kPeer, "a delta outside");
      policy.table[at] = weight;
    }
  } else {
    if (bytes.size() < 16 || bytes.size() % 4 != 0) return Fail(Blame::kPeer, "a torn snapshot");
    policy.vocab = Take<std::uint32_t>(bytes);
    policy.end = Take<TokenId>(bytes);
    policy.salt = Take<std::uint64_t>(bytes);
    while (!bytes.empty()) policy.table.push_back(Take<std::uint32_t>(bytes));
    if (policy.table.size() != policy.vocab * policy.vocab)
      return Fail(Blame::kPeer, "a torn snapshot");
  }
  if (check_root && RootOf(policy) != blob.root)
    return Fail(Blame::kPeer, "the weights do not have the root that was announced");
  return policy;
}

}  // namespace waggle
