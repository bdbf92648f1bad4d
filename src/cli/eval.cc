// waggle eval: a model on an environment's held-out tasks.
#include <unistd.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/common.h"
#include "engine/engine.h"
#include "roles/orchestrator_core.h"
#include "roles/worker_core.h"
#include "telemetry/telemetry.h"

namespace waggle {
namespace {

struct EvalArguments {
  ModelOptions model;
  MachineOptions machine;
  std::string environment, prompt_suffix;
  std::vector<std::string> settings;
  std::uint64_t tasks = 200, show = 3;
  std::uint32_t tokens_max = 256;
  double temperature = 0.0;
};

// An orchestrator that has nothing to train evaluates once and is finished; the cores are the run's
// own.
Result<Evaluation> Evaluate(const EvalArguments& arguments) {
  WG_ASSIGN(const Ops* ops, arguments.machine.SelectedOps());
  WG_ASSIGN(const OpenModel open, Open(arguments.model, *ops));
  Recipe recipe;
  recipe.environment = {arguments.environment, arguments.settings};
  recipe.orchestrator.steps = 0;
  recipe.evaluation = {.every = 0, .tasks = arguments.tasks, .temperature = arguments.temperature};
  recipe.sampling.tokens_max = arguments.tokens_max;
  WG_ASSIGN(const auto environment, MakeEnvironment(recipe.environment, {}));
  std::vector<TokenId> suffix;
  if (!arguments.prompt_suffix.empty()) {
    const auto id = open.base.tokenizer.Find(arguments.prompt_suffix);
    if (!id)
      return Fail(Blame::kOperator, "--prompt-suffix: the tokenizer has no token '{}'",
                  arguments.prompt_suffix);
    suffix.push_back(*id);
  }
  const TaskCodec codec(*environment, open.base.tokenizer, open.base.model.config.eos, suffix);
  ThreadPool pool(arguments.machine.Threads());
  Engine engine(open.model, PolicyVersion{0}, {}, pool);
  OrchestratorCore orchestrator(Hash256{}, recipe, codec, open.base.model.config.vocab);
  WorkerCore worker(codec, 1u << 20);
  std::vector<WorkerEffect> work;
  for (auto& effect : orchestrator.Step(WorkerIdle{WorkerId{1}, 1u << 20})) {
    if (auto* grant = std::get_if<GrantLease>(&effect)) {
      for (auto& started : worker.Step(LeaseGranted{std::move(grant->lease)}))
        work.push_back(std::move(started));
    }
  }
  while (!work.empty() || !engine.idle()) {
    std::vector<WorkerEffect> next;
    for (WorkerEffect& effect : work) {
      if (auto* start = std::get_if<StartSampling>(&effect)) {
        WG_ASSIGN(const RequestId request, engine.Submit(std::move(start->prompt), start->samples,
                                                         start->options, start->first_sample));
        static_cast<void>(worker.Step(SamplingStarted{start->lease, start->first_sample, request}));
      } else if (auto* submit = std::get_if<SubmitGroup>(&effect)) {
        for (auto& judged :
             orchestrator.Step(GroupArrived{WorkerId{1}, std::move(submit->group)})) {
          if (auto* evaluated = std::get_if<Evaluated>(&judged))
            return std::move(evaluated->evaluation);
        }
      }
    }
    if (!engine.idle()) next = worker.Step(TokensSampled{engine.Step()});
    work = std::move(next);
  }
  return Fail(Blame::kBug, "the evaluation did not finish");
}

}  // namespace

Action DefineEval(CLI::App& app) {
  auto arguments = std::make_shared<EvalArguments>();
  arguments->model.Define(app);
  app.add_option("--env", arguments->environment, "Environment.")->required();
  app.add_option("--set", arguments->settings,
                 "Setting of the environment as key=value; repeatable.");
  app.add_option("--tasks", arguments->tasks, "Held-out tasks.")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  app.add_option("--temperature", arguments->temperature, "0: greedy.")->capture_default_str();
  app.add_option("--max-tokens", arguments->tokens_max, "Response budget.")->capture_default_str();
  app.add_option("--prompt-suffix", arguments->prompt_suffix,
                 "Special token put after every prompt.");
  app.add_option("--show", arguments->show, "Transcripts to print.")->capture_default_str();
  arguments->machine.Define(app);
  return [arguments]() -> Status {
    WG_ASSIGN(const Evaluation evaluation, Evaluate(*arguments));
    for (std::size_t i = 0; i < evaluation.samples.size() && i < arguments->show; ++i)
      fmt::print("{}\n", evaluation.samples[i]);
    fmt::print("{} of {} correct: {}  mean reward {:.4f}, mean length {:.1f}\n", evaluation.correct,
               evaluation.tasks, AccuracyText(evaluation.correct, evaluation.tasks),
               evaluation.reward_mean, evaluation.length_mean);
    return {};
  };
}

}  // namespace waggle
