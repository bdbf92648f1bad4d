#include "audit/examine.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "base/check.h"
#include "crypto/keccak.h"
#include "proofs/fingerprint/group_prints.h"
#include "run/lease_maker.h"

namespace waggle {
namespace {

Examination Rejected(RejectReason reason, std::string detail, std::uint32_t rollout = 0,
                     std::uint32_t token = 0) {
  return {.verdict = Reject{reason, std::move(detail)}, .rollout = rollout, .token = token};
}

// Nothing was sampled after a token that ends a turn, but in a turn of its own.
std::optional<Examination> GoesOnAfterStop(const Group& group, const TaskCodec& codec) {
  const auto& stops = codec.stop_ids();
  for (std::uint32_t r = 0; r < group.rollouts.size(); ++r) {
    const Rollout& rollout = group.rollouts[r];
    for (std::uint32_t i = 0; i + 1 < rollout.tokens.size(); ++i) {
      if (rollout.loss_mask[i] == 0 || rollout.loss_mask[i + 1] == 0) continue;
      if (std::find(stops.begin(), stops.end(), rollout.tokens[i]) != stops.end())
        return Rejected(RejectReason::kBadTermination, "goes on after the token that ends it", r,
                        i);
    }
  }
  return std::nullopt;
}

// A worker need not say what it thinks its rollout is worth; if it does, it says the truth.
std::optional<Examination> FalseClaim(const Group& group, const ScoredGroup& scored) {
  for (std::uint32_t r = 0; r < group.rollouts.size(); ++r) {
    const float claimed = group.rollouts[r].reward, graded = scored.group.rollouts[r].reward;
    if (claimed != 0 &&
        std::bit_cast<std::uint32_t>(claimed) != std::bit_cast<std::uint32_t>(graded))
      return Rejected(RejectReason::kWrongReward,
                      fmt::format("claims a reward of {}, the task gives {}", claimed, graded), r);
  }
  return std::nullopt;
}

std::optional<Examination> FirstWrongToken(const Group& group, const GroupReplay& replay) {
  for (std::uint32_t r = 0; r < group.rollouts.size(); ++r) {
    const ReplayReport& report = replay.rollouts[r];
    if (report.equal) continue;
    const auto token = static_cast<std::uint32_t>(report.first_difference);
    const TokenId said = group.rollouts[r].tokens[token];
    if (said != report.expected_token)
      return Rejected(RejectReason::kWrongToken,
                      fmt::format("says {}, the race gives {}", said, report.expected_token), r,
                      token);
    return Rejected(RejectReason::kWrongLogp,
                    fmt::format("log-prob {:.9g}, the weights give {:.9g}",
                                group.rollouts[r].logps[token], report.expected_logp),
                    r, token);
  }
  return std::nullopt;
}

// Of form alone: everything that needs no weights.
std::optional<Examination> FoundWithoutWeights(const ExaminedRun& run, const Lease& lease,
                                               const Group& group) {
  if (auto why = LeaseMaker(run.run, run.recipe, run.codec).WhyNot(lease))
    return Rejected(RejectReason::kWrongLease, std::move(*why));
  const std::vector<PolicyVersion> versions = VersionsOf(group);
  const PolicyVersion newest = versions.empty() ? lease.version : versions.back();
  const Admission admission =
      AdmitUnder(run.recipe, lease, group, newest, newest.value, run.codec, run.vocab);
  if (!std::holds_alternative<Accepted>(admission.verdict)) return Examination{admission.verdict};
  if (auto found = GoesOnAfterStop(group, run.codec)) return found;
  return FalseClaim(group, admission.scored);
}

// A challenge that nobody but the group itself chooses, where no beacon looks.
Hash256 ChallengeOf(const Group& group) {
  constexpr std::string_view kLabel = "WGL-CHALLENGE-1";
  const Hash256 hash = GroupHash(group);
  Bytes message(kLabel.begin(), kLabel.end());
  message.insert(message.end(), hash.begin(), hash.end());
  return Sha256(message);
}

// In place of bit equality: what the group's fingerprints are worth against one's own prefill.
Examination ExamineFingerprints(const ExaminedRun& run, const PolicyLookup& policies,
                                ThreadPool& pool, const Lease& lease, const Group& group,
                                const GroupProbe* probe) {
  const TrustRecipe& trust = run.recipe.trust;
  const auto tier = FingerprintTier::Make(trust.tier, trust.fingerprint_limits);
  if (!tier) return {.verdict = Fault{tier.error().what}};
  const SamplingOptions options = SamplingOptionsOf(lease, run.codec);
  const auto judged =
      JudgeFingerprints(**tier, policies, pool, {run.run, lease, options, group},
                        probe != nullptr ? probe->challenge : ChallengeOf(group), probe);
  if (!judged) {
    const Error& error = judged.error();
    if (error.blame == Blame::kPeer) return Rejected(RejectReason::kMalformed, error.what);
    return {.verdict = Fault{error.what}};
  }
  Examination finding{.verdict = Accepted{}};
  if (judged->unlikely)
    finding =
        Rejected(RejectReason::kFingerprint, judged->unlikely->why, judged->unlikely->rollout);
  finding.tokens = judged->tokens;
  finding.bets = judged->bets;
  if (probe != nullptr) {
    const auto position = static_cast<std::uint32_t>(group.prompt.size()) - 1 + probe->token;
    finding.activation = ActivationHash(probe->layer, position, judged->activation);
  }
  return finding;
}

}  // namespace

std::vector<PolicyVersion> VersionsOf(const Group& group) {
  std::vector<PolicyVersion> versions;
  for (const Rollout& rollout : group.rollouts) {
    for (const VersionSpan& span : rollout.spans) versions.push_back(span.version);
  }
  std::sort(versions.begin(), versions.end());
  versions.erase(std::unique(versions.begin(), versions.end()), versions.end());
  return versions;
}

SamplingOptions SamplingOptionsOf(const Lease& lease, const TaskCodec& codec) {
  SamplingOptions options;
  options.config = lease.sampling;
  options.key = lease.key;
  options.stop_ids = codec.stop_ids();
  return options;
}

GroupProbe ProbeOf(const Hash256& beacon, const Hash256& group_hash, const Group& group,
                   std::uint32_t layers) {
  constexpr std::string_view kLabel = "probe||";
  Bytes seed(kLabel.begin(), kLabel.end());
  seed.insert(seed.end(), beacon.begin(), beacon.end());
  seed.insert(seed.end(), group_hash.begin(), group_hash.end());
  ShakeStream stream(seed);
  GroupProbe probe;
  probe.rollout = stream.Below(static_cast<std::uint32_t>(group.rollouts.size()));
  const std::size_t tokens = group.rollouts[probe.rollout].tokens.size();
  Check(tokens > 0, "a probe stands at a token");
  probe.token = stream.Below(static_cast<std::uint32_t>(tokens));
  // Not before the first layer: embeddings are to be had without computing.
  probe.layer = 1 + stream.Below(std::max<std::uint32_t>(1, layers));
  for (std::uint8_t& byte : probe.challenge) byte = static_cast<std::uint8_t>(stream.Below(256));
  return probe;
}

Examination Examine(const ExaminedRun& run, const PolicyLookup& policies, ThreadPool& pool,
                    const Lease& lease, const Group& group, const GroupProbe* probe) {
  if (auto found = FoundWithoutWeights(run, lease, group)) return std::move(*found);
  if (run.recipe.trust.fingerprinted())
    return ExamineFingerprints(run, policies, pool, lease, group, probe);
  const auto replay =
      ReplayGroup(policies, pool, group, SamplingOptionsOf(lease, run.codec), probe);
  if (!replay) {
    const Error& error = replay.error();
    if (error.blame == Blame::kPeer) return Rejected(RejectReason::kMalformed, error.what);
    return {.verdict = Fault{error.what}};
  }
  Examination finding{.verdict = Accepted{}};
  if (auto found = FirstWrongToken(group, *replay)) finding = std::move(*found);
  finding.tokens = replay->tokens;
  if (probe != nullptr) {
    const auto position = static_cast<std::uint32_t>(group.prompt.size()) - 1 + probe->token;
    finding.activation = ActivationHash(probe->layer, position, replay->activation);
  }
  return finding;
}

}  // namespace waggle
