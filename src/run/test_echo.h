// For tests: an environment that needs no weights, and what joins cores to it.
#pragma once

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "run/recipe.h"
#include "run/task_codec.h"

namespace waggle {

// "n?" is answered by "n". With turns == 2, a first answer "+" makes the environment say "!" and
// ask again.
class Echo final : public Environment {
 public:
  std::string_view name() const override { return "echo"; }
  std::string_view description() const override { return "repeat the digit"; }
  Result<Task> MakeTask(std::uint64_t seed) const override {
    Task task{.environment = "echo", .seed = seed};
    task.answer = std::string(1, static_cast<char>('0' + seed % 10));
    task.prompt = {{.content = task.answer + "?"}};
    return task;
  }
  std::optional<std::string> Parse(const Task&, std::string_view completion) const override {
    return std::string(completion);
  }
  Score Grade(const Task& task, const std::vector<Message>& transcript) const override {
    Score score;
    score.correct = transcript.back().content == task.answer;
    score.components.push_back({"exact", 1.0, score.correct ? 1.0 : 0.0});
    return score;
  }
  std::vector<Message> Respond(const Task&, const std::vector<Message>& transcript) const override {
    if (transcript.back().role == Role::kAssistant && transcript.back().content == "+")
      return {{.role = Role::kTool, .content = "!"}};
    return {};
  }
};

class EchoTest : public ::testing::Test {
 protected:
  static Tokenizer MakeTokenizer() {
    const std::vector<std::string> specials = {"<s>", "</s>", "<unk>"};
    return Tokenizer::FromCharacters(specials, "0123456789?+!").value();
  }
  Recipe MakeRecipe() {
    Recipe recipe;
    recipe.orchestrator.steps = 3;
    recipe.orchestrator.groups_per_step = 4;
    recipe.orchestrator.group_size = 2;
    recipe.evaluation.tasks = 3;
    recipe.sampling.tokens_max = 4;
    return recipe;
  }
  TokenId Id(std::string_view token) { return *tokenizer_.Find(token); }

  // A group that answers right in its even samples and "9?" in the odd ones.
  Group Answer(const Lease& lease) {
    const Task task = echo_.MakeTask(lease.task_seed).value();
    Group group{.lease = lease.id, .prompt = codec_.PromptTokens(task)};
    for (std::uint32_t i = 0; i < lease.group_size; ++i) {
      Rollout rollout;
      rollout.tokens = tokenizer_.Encode(i % 2 == 0 ? task.answer : "?");
      rollout.tokens.push_back(Id("</s>"));
      rollout.logps.assign(rollout.tokens.size(), -0.5f);
      rollout.loss_mask.assign(rollout.tokens.size(), 1);
      rollout.spans = {{0, lease.version}};
      group.rollouts.push_back(rollout);
    }
    return group;
  }
  template <class T, class Effects>
  static std::vector<T> Only(const Effects& effects) {
    std::vector<T> found;
    for (const auto& effect : effects) {
      if (const T* one = std::get_if<T>(&effect)) found.push_back(*one);
    }
    return found;
  }

  Echo echo_;
  Tokenizer tokenizer_ = MakeTokenizer();
  TaskCodec codec_{echo_, tokenizer_, {1}};
  Hash256 run_{};
};

}  // namespace waggle
