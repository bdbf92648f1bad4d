// Whether a group holds: honest ones do, whoever looks; each way to cheat is found and named, with
// the place.
#include "audit/examine.h"

#include <cmath>

#include "audit/test_audit.h"

namespace waggle {
namespace {

class Examines : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { audit_ = new TestAudit; }
  static void TearDownTestSuite() {
    delete audit_;
    audit_ = nullptr;
  }
  Examination Look(const Lease& lease, const Group& group, const GroupProbe* probe = nullptr,
                   unsigned threads = 2) {
    ThreadPool pool(threads);
    return Examine(audit_->Examined(), audit_->Lookup(), pool, lease, group, probe);
  }
  void ExpectFound(const Lease& lease, const Group& group, RejectReason reason,
                   std::uint32_t rollout = 0, std::uint32_t token = 0) {
    const Examination found = Look(lease, group);
    const auto* reject = std::get_if<Reject>(&found.verdict);
    ASSERT_NE(reject, nullptr) << ToString(reason);
    EXPECT_EQ(reject->reason, reason) << reject->detail;
    EXPECT_EQ(found.rollout, rollout);
    EXPECT_EQ(found.token, token);
  }

  static TestAudit* audit_;
  const Lease lease_ = audit_->LeaseOf(1);
  const Group honest_ = audit_->Sample(lease_);
};
TestAudit* Examines::audit_ = nullptr;

TEST_F(Examines, HonestGroupsHoldOnEveryDeviceAndThreadCount) {
  for (std::uint32_t index = 0; index < 20; ++index) {
    const Lease lease = audit_->LeaseOf(index);
    const Group group = audit_->Sample(lease);
    const GroupProbe probe = ProbeOf(Hash256{9}, GroupHash(group), group, 2);
    EXPECT_GE(probe.layer, 1u);
    EXPECT_LE(probe.layer, 2u);
    const Examination one = Look(lease, group, &probe, 1), three = Look(lease, group, &probe, 3);
    EXPECT_TRUE(std::holds_alternative<Accepted>(one.verdict));
    EXPECT_TRUE(std::holds_alternative<Accepted>(three.verdict));
    EXPECT_EQ(one.activation, three.activation);
    EXPECT_NE(one.activation, Hash256{});
  }
}

TEST_F(Examines, TheProbeIsTheBeaconsChoice) {
  std::set<std::tuple<std::uint32_t, std::uint32_t, std::uint32_t>> places;
  for (std::uint8_t beacon = 0; beacon < 50; ++beacon) {
    const GroupProbe probe = ProbeOf(Hash256{beacon}, GroupHash(honest_), honest_, 2);
    ASSERT_LT(probe.rollout, honest_.rollouts.size());
    ASSERT_LT(probe.token, honest_.rollouts[probe.rollout].tokens.size());
    places.insert({probe.rollout, probe.token, probe.layer});
  }
  EXPECT_GT(places.size(), 5u);
}

TEST_F(Examines, WeightsThatAreNotHereAreAFault) {
  Group group = honest_;
  for (Rollout& rollout : group.rollouts) rollout.spans[0].version = PolicyVersion{5};
  EXPECT_TRUE(std::holds_alternative<Fault>(Look(lease_, group).verdict));
}

TEST_F(Examines, EveryForgeryIsNamed) {
  Lease lease = lease_;
  lease.key[0] ^= 1;
  ExpectFound(lease, honest_, RejectReason::kWrongLease);
  lease = lease_;
  lease.task_seed += 1;
  ExpectFound(lease, honest_, RejectReason::kWrongLease);
  lease = lease_;
  lease.sampling.temperature = 0.9f;
  ExpectFound(lease, honest_, RejectReason::kWrongLease);

  Group group = honest_;
  group.rollouts.pop_back();
  ExpectFound(lease_, group, RejectReason::kMalformed);
  group = honest_;
  group.prompt.back() = group.prompt.front();
  ExpectFound(lease_, group, RejectReason::kWrongTask);
  group = honest_;
  group.rollouts[1].finish =
      group.rollouts[1].finish == FinishReason::kStop ? FinishReason::kLength : FinishReason::kStop;
  ExpectFound(lease_, group, RejectReason::kBadTermination);
  group = honest_;
  group.rollouts[2].reward = 0.5f;
  ExpectFound(lease_, group, RejectReason::kWrongReward, 2);
  group = honest_;
  std::swap(group.rollouts[0], group.rollouts[3]);
  if (group != honest_) {
    const Examination found = Look(lease_, group);
    EXPECT_TRUE(std::holds_alternative<Reject>(found.verdict));
  }
  group = honest_;
  group.rollouts[3].logps[0] = std::nextafter(group.rollouts[3].logps[0], -1.0f);
  ExpectFound(lease_, group, RejectReason::kWrongLogp, 3, 0);
  group = honest_;
  const TokenId stop = audit_->run->codec->stop_ids().front();
  TokenId& token = group.rollouts[2].tokens[0];
  ASSERT_NE(token, stop);
  do {
    token = (token + 1) % static_cast<TokenId>(audit_->Examined().vocab);
  } while (token == stop);
  ExpectFound(lease_, group, RejectReason::kWrongToken, 2, 0);
}

// The token that ends a turn, and more tokens after it, all as the race would have it.
TEST_F(Examines, NothingIsSampledAfterTheEnd) {
  const TokenId stop = audit_->run->codec->stop_ids().front();
  for (std::uint32_t index = 0; index < 20; ++index) {
    const Lease lease = audit_->LeaseOf(index);
    Group group = audit_->Sample(lease);
    for (std::uint32_t r = 0; r < group.rollouts.size(); ++r) {
      Rollout& rollout = group.rollouts[r];
      if (rollout.finish != FinishReason::kStop || rollout.tokens.size() > 10) continue;
      const auto end = static_cast<std::uint32_t>(rollout.tokens.size() - 1);
      rollout.tokens.push_back(stop);
      rollout.logps.push_back(-1.0f);
      rollout.loss_mask.push_back(1);
      return ExpectFound(lease, group, RejectReason::kBadTermination, r, end);
    }
  }
  FAIL() << "no rollout stopped by itself";
}

TEST_F(Examines, OtherWeightsAreFound) {
  Parameters parameters = audit_->run->trainer->parameters();
  float& weight = parameters.at("model.layers.0.mlp.up_proj.weight").data[3];
  weight *= 1.5f;
  const ModelConfig& config = audit_->run->base->model.config;
  const auto other =
      Model::Create(config, audit_->run->numerics, parameters, nullptr, BestOps()).value();
  const Examination found = Look(lease_, audit_->Sample(lease_, other));
  const auto* reject = std::get_if<Reject>(&found.verdict);
  ASSERT_NE(reject, nullptr);
  EXPECT_TRUE(reject->reason == RejectReason::kWrongLogp ||
              reject->reason == RejectReason::kWrongToken);
}

}  // namespace
}  // namespace waggle
