#include "proofs/dispute/weights_dispute.h"

#include <gtest/gtest.h>

#include "base/philox.h"

namespace waggle {
namespace {

const std::string kName = "model.layers.0.mlp.up_proj.weight";

Bytes RandomBits(const TensorForm& form, std::uint64_t seed) {
  Rng rng(seed);
  Bytes bits(form.bytes());
  for (std::uint8_t& byte : bits) byte = static_cast<std::uint8_t>(rng.Below(256));
  return bits;
}

Digest256 LeafOf(const TensorForm& form, const Bytes& bits) {
  RawBits raw(bits.size());
  std::copy(bits.begin(), bits.end(), raw.data());
  return MakeImageTensor(kName, form, std::move(raw))->leaf;
}

Digest256 RootOf(const TensorForm& form, const Bytes& bits) {
  const WeightsReply head = AnswerWeights({}, kName, form, bits);
  return TensorRoot(TypeOf(form), head.hashes[0]);
}

TEST(WeightsDisputes, TheChainIsThePolicysLeaf) {
  for (const TensorForm& form :
       {TensorForm{WireDtype::kBf16, {70, 33}}, TensorForm{WireDtype::kF32, {5}},
        TensorForm{WireDtype::kF32, {1, 14}}, TensorForm{WireDtype::kBf16, {3}}}) {
    const Bytes bits = RandomBits(form, 1);
    const LeafMessage message(kName, form);
    Sha256State state = kSha256Start;
    for (std::uint64_t i = 0; i < message.blocks(); ++i)
      state = Sha256Compress(state, message.Block(i, bits));
    EXPECT_EQ(state, StateOf(LeafOf(form, bits)));
  }
}

using Play = std::function<std::optional<WeightsReply>(const WeightsRequest&)>;

WeightsVerdict Settle(const TensorForm& form, const Bytes& truth, const Bytes& lie,
                      const Play& liar, bool liar_is_a, int* rounds = nullptr) {
  const Digest256 good = RootOf(form, truth), bad = RootOf(form, lie);
  WeightsReferee referee(kName, form, LeafOf(form, truth),
                         liar_is_a ? std::array{bad, good} : std::array{good, bad});
  while (!referee.verdict()) {
    const std::optional<WeightsReply> honest = AnswerWeights(referee.request(), kName, form, truth);
    const std::optional<WeightsReply> other = liar(referee.request());
    if (rounds != nullptr) ++*rounds;
    referee.Take(liar_is_a ? std::array{other, honest} : std::array{honest, other});
  }
  return *referee.verdict();
}

// Liars that forge the chain in every way we can think of; the truth never loses.
TEST(WeightsDisputes, TheTruthNeverLoses) {
  Rng rng(2);
  for (int round = 0; round < 120; ++round) {
    const TensorForm form{rng.Below(2) == 0 ? WireDtype::kBf16 : WireDtype::kF32,
                          {1 + rng.Below(90), 1 + rng.Below(90)}};
    const Bytes truth = RandomBits(form, 10 + static_cast<std::uint64_t>(round));
    Bytes lie = truth;
    for (std::uint32_t i = 0; i <= rng.Below(3); ++i)
      lie[rng.Below(static_cast<std::uint32_t>(lie.size()))] ^=
          static_cast<std::uint8_t>(1 + rng.Below(255));
    if (lie == truth) continue;
    const std::uint64_t blocks = LeafMessage(kName, form).blocks();
    const std::uint64_t joint = rng.Below(static_cast<std::uint32_t>(blocks) + 1);
    const std::uint32_t kind = rng.Below(5);
    const Play liar = [&](const WeightsRequest& request) -> std::optional<WeightsReply> {
      WeightsReply reply = AnswerWeights(request, kName, form, lie);
      if (request.kind == WeightsRequest::Kind::kStates) {
        const WeightsReply real = AnswerWeights(request, kName, form, truth);
        for (std::size_t i = 0; i < request.indices.size(); ++i) {
          const std::uint64_t at = request.indices[i];
          // Its own chain up to a joint, then the true one; or the true one all along; or noise.
          if (kind == 0 || (kind == 1 && at >= joint) || at == blocks)
            reply.states[i] = real.states[i];
          if (kind == 2 && at != 0 && at != blocks) reply.states[i][0] ^= 1u << rng.Below(32);
        }
      }
      if (request.kind == WeightsRequest::Kind::kBlock && kind == 3)
        return AnswerWeights(request, kName, form, truth);
      if (kind == 4 && request.kind == WeightsRequest::Kind::kBlock) return std::nullopt;
      return reply;
    };
    const bool liar_is_a = rng.Below(2) == 0;
    const WeightsVerdict v = Settle(form, truth, lie, liar, liar_is_a);
    EXPECT_EQ(v.a_loses, liar_is_a) << "kind " << kind << " round " << round;
    EXPECT_EQ(v.b_loses, !liar_is_a) << "kind " << kind << " round " << round;
  }
}

TEST(WeightsDisputes, RoundsAreFew) {
  const TensorForm form{WireDtype::kBf16, {512, 300}};
  const Bytes truth = RandomBits(form, 1);
  Bytes lie = truth;
  lie[1000] ^= 1;
  int rounds = 0;
  const Play liar = [&](const WeightsRequest& request) {
    WeightsReply reply = AnswerWeights(request, kName, form, lie);
    for (std::size_t i = 0; i < request.indices.size(); ++i)
      if (request.indices[i] == LeafMessage(kName, form).blocks())
        reply.states[i] = StateOf(LeafOf(form, truth));
    return std::optional(reply);
  };
  EXPECT_TRUE(Settle(form, truth, lie, liar, true, &rounds).a_loses);
  EXPECT_LE(rounds, 11);  // head, 2 levels of tiles, tile, states, 5 for 4801 blocks, block
}

}  // namespace
}  // namespace waggle
