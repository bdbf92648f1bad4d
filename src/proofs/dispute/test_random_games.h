// Games with random lies, for the fast and the nightly tests.
#pragma once

#include "proofs/dispute/test_disputes.h"

namespace waggle::testing_dispute {

// A liar of a random kind about a random token; what it does may still be honest in effect, in
// which case it must not be blamed either (it is then equal to the honest party, or proven wrong).
inline std::unique_ptr<RolloutParty> RandomLiar(RolloutGame& game, std::uint8_t side, Rng& rng) {
  const std::size_t sequence = rng.Below(RolloutGame::kBatches * RolloutGame::kGroup);
  const auto tokens = static_cast<std::uint32_t>(game.honest_claims()[sequence].size());
  const std::uint32_t token = rng.Below(tokens);
  const Program program = game.ProgramAt(sequence, token);
  const std::uint32_t node = rng.Below(static_cast<std::uint32_t>(program.nodes.size()));
  const Node& n = program.nodes[node];
  const auto slot =
      static_cast<std::uint8_t>(rng.Below(static_cast<std::uint32_t>(n.outputs.size())));
  const std::uint32_t element = rng.Below(static_cast<std::uint32_t>(n.outputs[slot].elements()));
  const std::uint32_t bit = rng.Below(23);
  Lies lies;
  switch (rng.Below(7)) {
    case 0:
    case 1:
      lies = RolloutGame::WrongBit(node, slot, element, bit);
      break;
    case 2: {  // an operation dropped: zeros
      lies.outputs = [=](std::uint32_t at, std::vector<HostTensor>& out) {
        if (at == node) out[slot] = HostTensor::Zero(out[slot].type);
      };
      break;
    }
    case 3: {  // an operand swapped, the template kept
      const std::size_t input = rng.Below(static_cast<std::uint32_t>(n.inputs.size()));
      const Digest256 honest = TemplateHash(program);
      lies.records = [=](std::vector<NodeRecord>& records) {
        records[node].inputs[input].index ^= 1;
      };
      lies.step = [=](StepRecord& step) { step.program = honest; };
      break;
    }
    case 4: {
      const std::size_t input = rng.Below(static_cast<std::uint32_t>(n.inputs.size()));
      lies.records = [=](std::vector<NodeRecord>& records) {
        records[node].inputs[input].root[bit] ^= 1;
      };
      break;
    }
    case 5:
      lies.step = [=](StepRecord& step) { (bit % 2 == 0 ? step.data : step.state_in)[bit] ^= 1; };
      break;
    default:
      lies.records = [=](std::vector<NodeRecord>& records) { records[node].attributes[bit] ^= 1; };
  }
  return game.Liar(side, sequence, token, std::move(lies));
}

// Honest against a liar that may also fall silent or garble what it says; then two liars.
inline void PlayRandomGames(std::uint64_t seed, int games) {
  RolloutGame game;
  Rng rng(seed);
  std::map<DisputeCase, int> reasons;
  const std::unique_ptr<RolloutParty> honest[2] = {game.Honest(0), game.Honest(1)};
  for (int i = 0; i < games; ++i) {
    const std::uint8_t side = static_cast<std::uint8_t>(rng.Below(2));
    const auto liar = RandomLiar(game, side, rng);
    const std::uint32_t mood = rng.Below(4), at = 1 + rng.Below(16);
    Meddler meddler(*liar, [&](const DisputeRequest& request, DisputeReply& reply) {
      if (request.round < at || mood > 1) return true;
      if (mood == 0) return false;
      for (Bytes* part : {&reply.record, &reply.hashes, &reply.proof, &reply.extra})
        if (!part->empty()) (*part)[rng.Below(static_cast<std::uint32_t>(part->size()))] ^= 1;
      if (rng.Below(3) == 0) reply.hashes.resize(reply.hashes.size() / 2);
      for (TileReply& tile : reply.tiles)
        if (!tile.bytes.empty()) tile.bytes[0] ^= 1;
      return true;
    });
    DisputeVerdict v;
    if (rng.Below(10) == 0) {
      const auto other = RandomLiar(game, side ^ 1, rng);
      v = side == 0 ? game.Play(*liar, *other) : game.Play(*other, *liar);
    } else {
      v = side == 0 ? game.Play(meddler, *honest[1]) : game.Play(*honest[0], meddler);
      ASSERT_FALSE(side == 0 ? v.b_loses : v.a_loses)
          << "game " << i << ": the honest party lost by " << ToString(v.reason);
      ASSERT_TRUE(side == 0 ? v.a_loses : v.b_loses)
          << "game " << i << ": the liar got away by " << ToString(v.reason);
    }
    ++reasons[v.reason];
  }
  EXPECT_GE(reasons.size(), 6u);
}

}  // namespace waggle::testing_dispute
