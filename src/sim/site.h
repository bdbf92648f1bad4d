// What all nodes of a simulated run agree on: the task, its tokens, the run's id; and what the run
// comes to if nothing ever goes wrong.
#pragma once

#include <memory>

#include "run/recipe.h"
#include "run/task_codec.h"
#include "sim/scenario.h"
#include "sim/toy_policy.h"

namespace waggle {

class Site {
 public:
  Site(const Scenario& scenario, std::uint64_t seed);
  Site(const Site&) = delete;  // the codec refers to its parts

  const Recipe recipe;
  const Hash256 run;

  const TaskCodec& codec() const { return *codec_; }
  // Of somebody who works on other tasks than the run's.
  const TaskCodec& wrong_codec() const { return *wrong_codec_; }
  std::size_t vocab() const { return tokenizer_.vocab_size(); }
  ToyPolicy first() const { return FirstToyPolicy(vocab(), /*end=*/1, recipe.seed); }
  std::vector<TokenId> PromptOf(const Lease& lease) const;

 private:
  Tokenizer tokenizer_;
  std::unique_ptr<Environment> environment_, wrong_;
  std::optional<TaskCodec> codec_, wrong_codec_;
};

struct Undisturbed {
  ToyPolicy policy;
  double first_reward = 0, last_reward = 0;  // mean of the first and the last batch
};
// The run in one process, without a network. With ahead = 0 any other way must end in its weights.
Undisturbed RunUndisturbed(const Site& site);

// Mean reward of a batch.
double MeanReward(const std::vector<ScoredGroup>& groups);

}  // namespace waggle
