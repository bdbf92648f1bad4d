#include "audit/prover.h"

#include "audit/examine.h"
#include "proofs/fingerprint/group_prints.h"

namespace waggle {
namespace {

constexpr std::size_t kModelsKept = 8;  // answers that are older are stale in any sensible run

}  // namespace

Result<std::unique_ptr<Prover>> Prover::Make(const Recipe& recipe, const Hash256& run,
                                             const TaskCodec& codec, ThreadPool& pool) {
  std::unique_ptr<Prover> prover;
  if (!recipe.trust.fingerprinted()) return prover;
  prover.reset(new Prover(run, codec, pool));
  WG_ASSIGN(prover->tier_,
            FingerprintTier::Make(recipe.trust.tier, recipe.trust.fingerprint_limits));
  return prover;
}

// A host that went back is believed: what came after is another history.
void Prover::Loaded(PolicyVersion version, std::shared_ptr<const Model> model) {
  models_.erase(models_.lower_bound(version), models_.end());
  models_.emplace(version, std::move(model));
  if (models_.size() > kModelsKept) models_.erase(models_.begin());
}

PolicyLookup Prover::Lookup() const {
  return [this](PolicyVersion version) -> Result<const Model*> {
    if (const auto at = models_.find(version); at != models_.end()) return at->second.get();
    return Fail(Blame::kMachine, "version {} is gone", version.value);
  };
}

Status Prover::Prove(const Lease& lease, Group& group) const {
  const SamplingOptions options = SamplingOptionsOf(lease, codec_);
  WG_ASSIGN(group.fingerprints,
            FingerprintsOf(*tier_, Lookup(), pool_, {run_, lease, options, group}));
  return {};
}

Status Prover::Rescore(const Lease& lease, Group& group) const {
  const SamplingOptions options = SamplingOptionsOf(lease, codec_);
  for (std::uint32_t r = 0; r < group.rollouts.size(); ++r) {
    WG_ASSIGN(const RolloutLook look,
              LookAtRollout(Lookup(), pool_, {run_, lease, options, group}, r));
    Rollout& rollout = group.rollouts[r];
    std::size_t row = 0;
    for (std::size_t t = 0; t < rollout.tokens.size(); ++t) {
      if (rollout.loss_mask[t] != 0) rollout.logps[t] = look.view.tokens[row++].logp;
    }
  }
  return {};
}

}  // namespace waggle
