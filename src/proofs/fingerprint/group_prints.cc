#include "proofs/fingerprint/group_prints.h"

#include <algorithm>

#include "base/check.h"
#include "proofs/fingerprint/hash_input.h"

namespace waggle {
namespace {

// One past the last token of a span.
std::size_t EndOf(const Rollout& rollout, std::size_t span) {
  return span + 1 < rollout.spans.size() ? rollout.spans[span + 1].first_token
                                         : rollout.tokens.size();
}

// Appends rows [begin, end) of `from` that the policy sampled.
void TakeRows(const RolloutView& from, const Rollout& rollout, std::size_t begin, std::size_t end,
              RolloutLook& look) {
  RolloutView& view = look.view;
  const auto row = [&](const std::vector<float>& rows, std::size_t i) {
    const auto at = rows.begin() + static_cast<std::ptrdiff_t>(i * from.width);
    return std::pair(at, at + static_cast<std::ptrdiff_t>(from.width));
  };
  for (std::size_t i = begin; i < end; ++i) {
    if (rollout.loss_mask[i] == 0) continue;
    const auto [first, last] = row(from.hidden, i);
    view.hidden.insert(view.hidden.end(), first, last);
    for (std::size_t l = 0; l < from.states.size(); ++l) {
      const auto [a, b] = row(from.states[l], i);
      view.states[l].insert(view.states[l].end(), a, b);
    }
    view.tokens.push_back(from.tokens[i]);
    view.ids.push_back(rollout.tokens[i]);
    look.logps.push_back(rollout.logps[i]);
    ++view.response;
  }
}

Status CheckSpans(const Rollout& rollout) {
  const std::size_t n = rollout.tokens.size();
  if (n == 0 || rollout.logps.size() != n || rollout.loss_mask.size() != n)
    return Fail(Blame::kPeer, "a rollout without a log-prob and a mask for each token");
  if (rollout.spans.empty() || rollout.spans.front().first_token != 0)
    return Fail(Blame::kPeer, "version spans start at token 0");
  for (std::size_t s = 0; s < rollout.spans.size(); ++s) {
    if (rollout.spans[s].kept_kv)
      return Fail(Blame::kPeer, "keys and values kept from other weights have no fingerprint");
    if (rollout.spans[s].first_token >= EndOf(rollout, s))
      return Fail(Blame::kPeer, "version spans ascend");
  }
  return {};
}

}  // namespace

Result<RolloutLook> LookAtRollout(const PolicyLookup& policies, ThreadPool& pool,
                                  const PrintedGroup& printed, std::uint32_t r,
                                  ActivationProbe* probe) {
  const Rollout& rollout = printed.group.rollouts[r];
  WG_TRY(CheckSpans(rollout));
  RolloutClaim claim{.tokens = printed.group.prompt,
                     .prompt = printed.group.prompt.size(),
                     .options = printed.options,
                     .sample = r,
                     .logps = rollout.logps};
  claim.tokens.insert(claim.tokens.end(), rollout.tokens.begin(), rollout.tokens.end());
  RolloutLook look;
  look.view.ids = printed.group.prompt;
  for (std::size_t s = 0; s < rollout.spans.size(); ++s) {
    const std::size_t begin = rollout.spans[s].first_token, end = EndOf(rollout, s);
    WG_ASSIGN(const Model* model, policies(rollout.spans[s].version));
    const bool here = probe != nullptr && probe->position + 1 >= claim.prompt + begin &&
                      probe->position + 1 < claim.prompt + end;
    WG_ASSIGN(const RolloutView view, LookAt(*model, pool, claim, here ? probe : nullptr));
    if (s == 0) {
      look.view.width = view.width;
      look.view.layers = view.layers;
      look.view.states.resize(view.states.size());
      look.view.prompt = view.prompt;
      look.view.ends_in_stop = view.ends_in_stop;
      look.view.tokens_max = view.tokens_max;
    }
    TakeRows(view, rollout, begin, end, look);
  }
  if (look.view.response == 0) return Fail(Blame::kPeer, "a rollout in which nothing was sampled");
  return look;
}

Result<std::vector<Bytes>> FingerprintsOf(const FingerprintTier& tier, const PolicyLookup& policies,
                                          ThreadPool& pool, const PrintedGroup& printed) {
  std::vector<Bytes> fingerprints;
  for (std::uint32_t r = 0; r < printed.group.rollouts.size(); ++r) {
    WG_ASSIGN(const RolloutLook look, LookAtRollout(policies, pool, printed, r));
    WG_ASSIGN(fingerprints.emplace_back(),
              tier.Prove(ScopeOf(printed.run, printed.lease, r), look.view));
  }
  return fingerprints;
}

Result<PrintsJudged> JudgeFingerprints(const FingerprintTier& tier, const PolicyLookup& policies,
                                       ThreadPool& pool, const PrintedGroup& printed,
                                       const Digest256& challenge, const GroupProbe* probe) {
  const Group& group = printed.group;
  Check(group.fingerprints.size() == group.rollouts.size(), "a fingerprint for every rollout");
  PrintsJudged judged;
  std::vector<RolloutFinding> findings;
  for (std::uint32_t r = 0; r < group.rollouts.size(); ++r) {
    ActivationProbe activation;
    const bool watched = probe != nullptr && probe->rollout == r;
    if (watched) {
      activation.position = group.prompt.size() - 1 + probe->token;
      activation.layer = probe->layer;
    }
    WG_ASSIGN(const RolloutLook look,
              LookAtRollout(policies, pool, printed, r, watched ? &activation : nullptr));
    if (watched) judged.activation = std::move(activation.row);
    const FingerprintScope scope = ScopeOf(printed.run, printed.lease, r);
    const Digest256 own_challenge = HashInput().Digest(challenge).Little(r, 4).Finish();
    WG_ASSIGN(findings.emplace_back(),
              tier.Judge({.scope = scope,
                          .posted = group.fingerprints[r],
                          .challenge = own_challenge,
                          .logps = look.logps,
                          .own = look.view,
                          .greedy = printed.lease.sampling.temperature == 0.0f}));
    judged.bets.Add(findings.back().bets);
    judged.tokens += group.prompt.size() + group.rollouts[r].tokens.size();
  }
  judged.unlikely = tier.Conclude(findings);
  return judged;
}

}  // namespace waggle
