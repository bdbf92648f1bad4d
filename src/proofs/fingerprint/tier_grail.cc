// GRAIL as deployed (sheet grail.md 1.5, 1.10), over our groups: the checks of grail_window.h in
// their order, with what passes them. What the sheet's file has and a group has not is filled in as
// an honest file has it; sketches are of response positions, which are all that is challenged.
#include <algorithm>
#include <cmath>

#include "proofs/fingerprint/grail_window.h"
#include "proofs/fingerprint/tier.h"

namespace waggle {
namespace {

class GrailTier : public FingerprintTier {
 public:
  // R_m, then the sketches. R_m is the prover's word, and nobody compares it with anything.
  Result<Bytes> Prove(const FingerprintScope& scope, const RolloutView& view) const override {
    return sketch_->Commit(scope, view);
  }

  Result<RolloutFinding> Judge(const TierQuestion& q) const override {
    RolloutFinding finding;
    const RolloutView& own = q.own;
    if (q.posted.size() != 32 + 4 * own.response) {
      finding.why =
          fmt::format("{} bytes of sketches for {} tokens", q.posted.size(), own.response);
      return finding;
    }
    GrailRow row;
    GrailView view;
    Fill(q, row.rollout, view);
    const GrailWindow window{.vocab = SIZE_MAX,
                             .context = SIZE_MAX,
                             .tokens_max = own.tokens_max,
                             .randomness = q.challenge};
    const GrailOutcome outcome = CheckGrailRow(window, row, view);
    if (outcome.hard_failure)
      finding.why = fmt::format("GRAIL's check of {} fails", ToString(outcome.failed));
    finding.soft =
        !q.greedy && std::ranges::find(outcome.soft_failures, GrailCheck::kDistribution) !=
                         outcome.soft_failures.end();
    return finding;
  }

  std::optional<GroupFinding> Conclude(std::span<const RolloutFinding> rollouts) const override {
    std::size_t soft = 0;
    for (std::uint32_t r = 0; r < rollouts.size(); ++r) {
      if (!rollouts[r].why.empty()) return GroupFinding{r, rollouts[r].why};
      soft += rollouts[r].soft ? 1 : 0;
    }
    if (!GrailSoftFails(GrailCheck::kDistribution, soft, rollouts.size())) return std::nullopt;
    return GroupFinding{0, fmt::format("GRAIL's check of distribution fails for {} of {} rollouts",
                                       soft, rollouts.size())};
  }

 private:
  static void Fill(const TierQuestion& q, GrailRollout& rollout, GrailView& view) {
    const RolloutView& own = q.own;
    std::copy_n(q.posted.begin(), 32, rollout.randomness.begin());
    rollout.tokens = own.ids;
    rollout.sketches.assign(own.prompt, 0);
    for (std::size_t i = 0; i < own.response; ++i) {
      std::uint32_t sketch = 0;
      for (std::size_t b = 0; b < 4; ++b)
        sketch |= std::uint32_t{q.posted[32 + 4 * i + b]} << (8 * b);
      rollout.sketches.push_back(sketch);
    }
    rollout.logps.assign(q.logps.begin(), q.logps.end());
    rollout.prompt_length = static_cast<std::int64_t>(own.prompt);
    rollout.completion_length = static_cast<std::int64_t>(own.response);
    view.prompt.assign(own.ids.begin(), own.ids.begin() + static_cast<std::ptrdiff_t>(own.prompt));
    view.width = own.width;
    view.hidden.assign(own.prompt * own.width, 0.0f);
    view.hidden.insert(view.hidden.end(), own.hidden.begin(), own.hidden.end());
    view.logps = LogpsOf(own);
    for (const TokenView& token : own.tokens) view.chosen.push_back(token.mass);
    view.eos_probability = own.tokens.back().stop_mass;
    view.ends_in_eos = own.ends_in_stop;
  }

  std::unique_ptr<Fingerprint> sketch_ = FindFingerprint("grail-v5");
};

}  // namespace

std::unique_ptr<FingerprintTier> MakeGrailTier() { return std::make_unique<GrailTier>(); }

}  // namespace waggle
