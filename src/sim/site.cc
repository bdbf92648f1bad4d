#include "sim/site.h"

#include <functional>

#include "base/check.h"
#include "environments/sequences.h"
#include "roles/orchestrator_core.h"

namespace waggle {
namespace {

constexpr const char* kDigits = "0123456789";

Tokenizer MakeTokenizer() {
  const std::vector<std::string> specials = {"<s>", "</s>", "<unk>"};
  return Tokenizer::FromCharacters(specials, std::string(kDigits) + "=").value();
}

std::unique_ptr<Environment> MakeTask(std::uint32_t length, bool backwards) {
  SequenceConfig config;
  config.alphabet = kDigits;
  config.length_min = config.length_max = length;
  config.prefix_weight = 0.5;
  // A text of one character is the same backwards, but its prompt is not the same here.
  if (backwards) config.form = "={}=";
  return MakeCopy(config).value();
}

Hash256 RunOf(std::uint64_t seed) {
  return Sha256Hasher().Update(std::as_bytes(std::span(&seed, 1))).Finish();
}

}  // namespace

Site::Site(const Scenario& scenario, std::uint64_t seed)
    : recipe(RecipeOf(scenario, seed)),
      run(RunOf(seed)),
      tokenizer_(MakeTokenizer()),
      environment_(MakeTask(scenario.run.text_length, false)),
      wrong_(MakeTask(scenario.run.text_length, true)) {
  const std::vector<TokenId> stops = {*tokenizer_.Find("</s>")};
  Check(stops.front() == 1, "the end is where the toy policy has it");
  codec_.emplace(*environment_, tokenizer_, stops);
  wrong_codec_.emplace(*wrong_, tokenizer_, stops);
}

std::vector<TokenId> Site::PromptOf(const Lease& lease) const {
  return codec_->PromptTokens(environment_->MakeTask(lease.task_seed).value());
}

double MeanReward(const std::vector<ScoredGroup>& groups) {
  double sum = 0, count = 0;
  for (const ScoredGroup& group : groups) {
    for (const auto& reward : group.rewards) sum += reward.value_or(0.0);
    count += static_cast<double>(group.rewards.size());
  }
  return count > 0 ? sum / count : 0;
}

Undisturbed RunUndisturbed(const Site& site) {
  Undisturbed result{.policy = site.first()};
  constexpr WorkerId kOnly{1};
  OrchestratorCore core(site.run, site.recipe, site.codec(), site.vocab());
  const std::function<void(const OrchestratorEvent&)> step = [&](const OrchestratorEvent& event) {
    for (const OrchestratorEffect& effect : core.Step(event)) {
      if (const auto* grant = std::get_if<GrantLease>(&effect)) {
        step(GroupArrived{kOnly, SampleGroup(result.policy, core.version(), grant->lease,
                                             site.PromptOf(grant->lease))});
      } else if (const auto* train = std::get_if<TrainOn>(&effect)) {
        result.last_reward = MeanReward(train->groups);
        if (train->batch == 0) result.first_reward = result.last_reward;
        result.policy = Train(result.policy, train->groups);
        step(PolicyPublished{PolicyVersion{core.version().value + 1}});
      }
    }
  };
  while (core.version().value < site.recipe.orchestrator.steps) step(WorkerIdle{kOnly, ~0u});
  return result;
}

}  // namespace waggle
