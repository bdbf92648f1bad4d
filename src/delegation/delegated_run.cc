#include "delegation/delegated_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "base/check.h"
#include "base/files.h"
#include "delegation/decidable.h"
#include "delegation/record_file.h"
#include "delegation/response_codec.h"
#include "delegation/step_spec.h"
#include "model/model_directory.h"
#include "roles/sample_group.h"
#include "run/run_folder.h"
#include "training/checkpoint_folder.h"

namespace waggle {
namespace {

namespace fs = std::filesystem;

constexpr const char* kStepsName = "commitment.log";
constexpr const char* kBatchesName = "batches.log";
constexpr const char* kModelName = "model";
constexpr std::size_t kBatchRecordBytes = 2 + 8 + 32;
constexpr std::uint64_t kSequencesMax = 1u << 20;   // specs are held in memory
constexpr std::uint64_t kSpecTokensMax = 1u << 27;  // of all of them
// Of the 7 MiB that a party may say: a description and a batch, beside a descent and its tile.
constexpr std::size_t kGroundBytesMax = std::size_t{3} << 20;
constexpr std::size_t kResponsesBytes = std::size_t{1} << 20;

constexpr const char* kWhatCanBe =
    "What can be delegated: runs that sample and train by turns, from given weights, without any "
    "of "
    "this (recipes/verde/run.toml); training on texts, a recipe of `waggle sft` with `commitment = "
    "true` (recipes/verde/recipe.toml); rollouts on given prompts, a recipe with [prompts] "
    "(recipes/verde/rollouts.toml); docs/disputes.md, \"On the wire\"";

tl::unexpected<Error> NotDelegable(const std::string& why) {
  return Fail(Blame::kOperator, "a recipe of `waggle run` that cannot be delegated: {}. {}", why,
              kWhatCanBe);
}

SequenceSpec SpecOf(const Lease& lease, const TaskCodec& codec, const std::vector<TokenId>& prompt,
                    std::uint32_t sample) {
  SequenceSpec spec;
  spec.prompt = prompt;
  spec.stop_ids = codec.stop_ids();
  spec.temperature = lease.sampling.temperature;
  spec.top_p = lease.sampling.top_p;
  spec.min_p = lease.sampling.min_p;
  spec.top_k = lease.sampling.top_k;
  spec.key0 = lease.key[0];
  spec.key1 = lease.key[1];
  spec.sample = sample;
  spec.tokens_max = lease.sampling.tokens_max;
  return spec;
}

// Prompts and keys of the whole run; and whether its dearest graphs could be disputed.
Status FormSpecs(RunWork& work) {
  const ModelConfig& config = work.model.config;
  const TaskCodec& codec = *work.ground->site().codec;
  const std::uint64_t batches = BatchesIn(work.run);
  if (batches * work.run.group > kSequencesMax)
    return NotDelegable(
        fmt::format("{} batches of {} responses: a program has at most {} responses", batches,
                    work.run.group, kSequencesMax));
  std::uint64_t tokens = 0;
  std::size_t longest = 0;
  for (std::uint64_t batch = 0; batch < batches; ++batch) {
    const auto leases = work.ground->Leases(batch);
    if (!leases) return NotDelegable(leases.error().what);
    for (const Lease& lease : *leases) {
      WG_ASSIGN(const Task task, codec.environment().MakeTask(lease.task_seed));
      const std::vector<TokenId> prompt = codec.PromptTokens(task);
      tokens += prompt.size() * lease.group_size;
      if (prompt.empty() || prompt.size() + lease.sampling.tokens_max > config.max_positions ||
          tokens > kSpecTokensMax)
        return NotDelegable(
            fmt::format("a prompt of {} tokens, with sampling.tokens_max = {}, is past the model's "
                        "{} positions",
                        prompt.size(), lease.sampling.tokens_max, config.max_positions));
      for (std::uint32_t r = 0; r < lease.group_size; ++r)
        work.specs.push_back(SpecOf(lease, codec, prompt, r));
      if (prompt.size() > work.specs[longest].prompt.size()) longest = work.specs.size() - 1;
    }
  }
  const SequenceSpec& spec = work.specs[longest];
  const std::uint64_t rows = spec.prompt.size() + spec.tokens_max - 1;
  if (work.run.group * config.layers > kDisputeLimits.sample_layers_max ||
      work.run.group * rows * config.head_dim > kDisputeLimits.rope_cells_max)
    return NotDelegable(
        fmt::format("{} responses in one step are past the limits of disputes", work.run.group));
  WG_TRY(CheckDecidable(work.model, spec));
  return CheckDecidable(work.run, work.model, static_cast<std::uint32_t>(rows));
}

RunProgram ProgramOf(const RunWork& work, const Hash256& id) {
  const Recipe& recipe = work.recipe;
  RunProgram run;
  run.kind = DisputeKind::kReinforcement;
  run.config = WriteModelConfig(work.base.config, "float32");
  run.weights = static_cast<std::uint8_t>(work.numerics.weights);
  run.kv = static_cast<std::uint8_t>(work.numerics.kv);
  run.kshards = work.numerics.kshards;
  run.units = recipe.orchestrator.steps * 2;
  run.group = recipe.orchestrator.groups_per_step * recipe.orchestrator.group_size;
  run.tokens_max = recipe.sampling.tokens_max;
  PutClip(recipe.trainer.clip, run);
  run.run = DescribedRun{id, Sha256(work.description)};
  return run;
}

Status CheckSayable(const RunWork& work) {
  const std::size_t batch =
      sizeof(std::uint32_t) * work.run.group * (1 + 2 * std::size_t{work.run.tokens_max});
  if (work.description.size() + batch <= kGroundBytesMax) return {};
  return NotDelegable(fmt::format(
      "what a dispute about a step needs, {} kB of responses and {} kB of recipe and tokenizer, is "
      "past {} kB: lower orchestrator.groups_per_step or sampling.tokens_max",
      batch / 1000, work.description.size() / 1000, kGroundBytesMax / 1000));
}

Result<std::unique_ptr<Trainer>> FreshTrainer(const RunWork& work, const Ops& ops,
                                              ThreadPool& pool) {
  return Trainer::Create(work.base.config, work.numerics, work.base.parameters, work.recipe.trainer,
                         ops, pool);
}

// A trainer before a batch that is not past `last`, from the newest whole checkpoint there is.
struct TrainerAtBatch {
  std::unique_ptr<Trainer> trainer;
  std::uint64_t batch = 0;
};
Result<TrainerAtBatch> NearestTrainer(const RunWork& work, const fs::path& folder,
                                      std::uint64_t last, const Ops& ops, ThreadPool& pool) {
  const fs::path root = folder / "checkpoints";
  std::vector<std::uint64_t> batches = CompleteSteps(root);
  for (; !batches.empty(); batches.pop_back()) {
    if (batches.back() > last) continue;
    auto trainer = Trainer::LoadCheckpoint(StepFolder(root, batches.back()), work.base.config,
                                           work.numerics, work.recipe.trainer, ops, pool);
    if (trainer) return TrainerAtBatch{std::move(*trainer), batches.back()};
  }
  WG_ASSIGN(auto trainer, FreshTrainer(work, ops, pool));
  return TrainerAtBatch{std::move(trainer), 0};
}

Status StepOn(const RunWork& work, Trainer& trainer, std::uint64_t batch,
              const RolloutClaims& responses) {
  WG_ASSIGN(const auto groups, work.ground->Groups(batch, work.BatchIn(responses, batch)));
  return trainer.PolicyStep(groups, PolicyVersion{batch}).map([](const StepReport&) {});
}

// A run on its way through its folder.
class Running {
 public:
  Running(const RunWork& work, const fs::path& folder, const Ops& ops, ThreadPool& pool)
      : work_(work), folder_(folder), ops_(ops), pool_(pool) {}

  Result<bool> Run(const SamplingWatch& watch) {
    WG_ASSIGN(log_, ResponseLog::Open(folder_, work_.run.tokens_max));
    WG_ASSIGN(batches_, RecordFile::Open(folder_ / kBatchesName, kBatchRecordBytes));
    WG_ASSIGN(steps_, RecordFile::Open(folder_ / kStepsName, kStepRecordBytes));
    const std::uint64_t all = BatchesIn(work_.run), group = work_.run.group;
    // What a checkpoint is of is in the logs: they are written before it.
    const std::uint64_t noted =
        std::min({log_->responses().size() / group, batches_->count(), steps_->count()});
    if (noted >= all && fs::exists(folder_ / kModelName)) return true;
    WG_ASSIGN(TrainerAtBatch at, NearestTrainer(work_, folder_, noted, ops_, pool_));
    trainer_ = std::move(at.trainer);
    before_ = StateRootOf(work_.state, *trainer_);
    for (std::uint64_t batch = at.batch; batch < all; ++batch) {
      if (watch.wants_to_leave && watch.wants_to_leave()) return false;
      WG_TRY(Sample(batch));
      WG_TRY(Step(batch));
      if (watch.progress) watch.progress((batch + 1) * group, all * group);
    }
    WG_TRY(Export());
    return true;
  }

 private:
  Status Sample(std::uint64_t batch) {
    const std::uint64_t group = work_.run.group;
    const RolloutClaims& logged = log_->responses();
    if (logged.size() < (batch + 1) * group) {
      WG_ASSIGN(const auto model, trainer_->WorkingModel());
      const SamplingRecipe& sampling = work_.recipe.sampling;
      EngineConfig config;
      config.kv_bytes = sampling.kv_bytes;
      config.step_tokens = sampling.step_tokens;
      config.sequences_max = sampling.sequences_max;
      WG_ASSIGN(const std::vector<Lease> leases, work_.ground->Leases(batch));
      WG_ASSIGN(const std::vector<Group> groups,
                SampleGroups(*work_.ground->site().codec, leases, model, PolicyVersion{batch},
                             config, pool_));
      std::uint64_t sequence = batch * group;
      for (const Group& one : groups) {
        for (const Rollout& rollout : one.rollouts) WG_TRY(Keep(sequence++, rollout));
      }
    }
    std::vector<Digest256> roots;
    for (const auto& response : work_.BatchIn(log_->responses(), batch))
      roots.push_back(TokenRoot(response, work_.run.tokens_max));
    return batches_->Put(
        batch, Encode(BatchRecord{batch, SequenceTree(work_.run, roots, 0).root()}), "batch");
  }
  Status Keep(std::uint64_t sequence, const Rollout& rollout) {
    std::vector<TokenRecord> response;
    for (std::uint32_t t = 0; t < rollout.tokens.size(); ++t) {
      if (rollout.loss_mask[t] == 0)
        return NotDelegable("environment.name: disputes do not know turns of an environment");
      response.push_back({t, rollout.tokens[t], std::bit_cast<std::uint32_t>(rollout.logps[t])});
    }
    if (sequence >= log_->responses().size()) return log_->Add(std::move(response));
    if (response == log_->responses()[sequence]) return {};
    return Fail(Blame::kMachine,
                "response {} comes to something else than it did before the run was stopped: this "
                "machine's arithmetic cannot be relied on",
                sequence);
  }
  Status Step(std::uint64_t batch) {
    const auto responses = work_.BatchIn(log_->responses(), batch);
    const std::uint64_t step = trainer_->step();
    WG_ASSIGN(const StepInputs inputs, work_.ground->Inputs(batch, step, responses));
    WG_TRY(StepOn(work_, *trainer_, batch, log_->responses()));
    const Digest256 after = StateRootOf(work_.state, *trainer_);
    Check((after == before_) == inputs.spec.rows.empty(), "a step moves what has a gradient");
    WG_TRY(steps_->Put(batch, Encode(RecordOfStep(work_, inputs, step, before_, after)), "step"));
    before_ = after;
    const std::uint64_t done = batch + 1;
    if (done % work_.recipe.checkpoint_every != 0 && done != BatchesIn(work_.run)) return {};
    const fs::path root = folder_ / "checkpoints";
    WG_TRY(trainer_->SaveCheckpoint(StepFolder(root, done)));
    return PruneSteps(root, work_.recipe.checkpoints_kept);
  }

  // What the run ends with, as a model directory: whole, or not there.
  Status Export() const {
    const fs::path to = folder_ / kModelName, aside = folder_ / "model.tmp";
    std::error_code error;
    fs::remove_all(aside, error);
    WG_TRY(SaveBaseModel(aside, work_.base.config, trainer_->parameters(),
                         work_.ground->site().description.tokenizer, work_.numerics.weights));
    fs::remove_all(to, error);
    fs::rename(aside, to, error);
    if (!error) return {};
    return Fail(Blame::kMachine, "cannot write {}: {}", to.string(), error.message());
  }

  const RunWork& work_;
  const fs::path folder_;
  const Ops& ops_;
  ThreadPool& pool_;
  std::unique_ptr<Trainer> trainer_;
  Digest256 before_{};
  std::optional<ResponseLog> log_;
  std::optional<RecordFile> batches_, steps_;
};

Result<Recipe> ReadClaimed(const fs::path& folder) {
  return LoadRecipe(folder / kRunRecipeName, {});
}

}  // namespace

Result<RunWork> OpenRunWork(Recipe recipe) {
  if (const Status good = CheckDelegable(recipe); !good) return NotDelegable(good.error().what);
  if (recipe.model.path.empty())
    return NotDelegable("model.path: it begins with given weights (`waggle sft` makes some)");
  RunWork work;
  WG_ASSIGN(BaseModel base, LoadBaseModel(recipe.model.path));
  work.base = std::move(base.model);
  WG_ASSIGN(work.numerics, NumericsOf(recipe.model));
  const ModelConfig& config = work.base.config;
  WG_TRY(CheckWritable(config));
  work.recipe = std::move(recipe);
  ThreadPool serial(1);
  WG_ASSIGN(const auto trainer, FreshTrainer(work, BestOps(), serial));
  const Hash256 start = trainer->StateHash();
  work.description = EncodeDescription(work.recipe, config, base.tokenizer, start);
  work.run = ProgramOf(work, RunIdOf(work.recipe, start));
  auto model = ModelOf(work.run);
  if (!model) return NotDelegable(model.error().what);
  work.model = std::move(*model);
  WG_TRY(CheckSayable(work));
  work.state = StateOf(work.model.config, {});  // fp32 masters
  auto ground = RunGround::Read(work.run, work.description);
  if (!ground) return NotDelegable(ground.error().what);
  work.ground = std::move(*ground);
  WG_ASSIGN(const Optimizer optimizer,
            Optimizer::Create(work.recipe.trainer.optimizer, work.recipe.trainer.schedule));
  OptimizerClock clock;
  PutBetas(optimizer.Advance(clock), work.run);
  work.run.state = StateRootOf(work.state, *trainer);
  WG_TRY(FormSpecs(work));
  work.run.data = SpecRoot(work.specs);
  return work;
}

Result<RunWork> OpenRunWork(const fs::path& recipe, const std::vector<std::string>& overrides) {
  WG_ASSIGN(Recipe read, LoadRecipe(recipe, overrides));
  return OpenRunWork(std::move(read));
}

StepRecord RecordOfStep(const RunWork& work, const StepInputs& inputs, std::uint64_t step,
                        const Digest256& before, const Digest256& after) {
  StepRecord record{step, before, inputs.spec.data, {}, {}, after};
  if (inputs.spec.rows.empty()) return record;
  const auto program = StepProgramOf(work.run, work.model, inputs.spec);
  Check(program.has_value(), "a step of a program that was formed");
  record.program = TemplateHash(*program);
  return record;
}

Result<bool> PrepareRun(const fs::path& folder, const fs::path& recipe,
                        const std::vector<std::string>& overrides, const Ops& ops, ThreadPool& pool,
                        const SamplingWatch& watch) {
  WG_ASSIGN(const RunWork work,
            OpenRunWork(recipe.empty() ? folder / kRunRecipeName : recipe, overrides));
  Recipe claimed = work.recipe;
  WG_TRY(ClaimFolder(folder, kRunRecipeName, WriteToml(claimed)));
  WG_ASSIGN(const FolderLock alone, RunFolder(folder).Lock());
  return Running(work, folder, ops, pool).Run(watch);
}

Result<std::unique_ptr<ReinforcedRun>> ReinforcedRun::Open(const fs::path& folder, const Ops& ops,
                                                           ThreadPool& pool) {
  WG_ASSIGN(Recipe recipe, ReadClaimed(folder));
  WG_ASSIGN(RunWork opened, OpenRunWork(std::move(recipe)));
  std::unique_ptr<ReinforcedRun> run(new ReinforcedRun(folder, std::move(opened), ops, pool));
  const RunWork& work = run->work_;
  const std::uint64_t all = BatchesIn(work.run);
  WG_ASSIGN(auto responses, ResponseLog::Read(folder, work.run.tokens_max));
  WG_ASSIGN(const auto batches, RecordFile::Read(folder / kBatchesName, kBatchRecordBytes));
  WG_ASSIGN(const auto steps, RecordFile::Read(folder / kStepsName, kStepRecordBytes));
  const std::uint64_t done =
      std::min({static_cast<std::uint64_t>(responses.size() / work.run.group), batches.size(),
                steps.size()});
  if (done < all)
    return Fail(Blame::kOperator, "{} has {} of its {} steps: `waggle answer {}` takes the others",
                folder.string(), done, all, folder.string());
  responses.resize(all * work.run.group);
  const auto damaged = [&](std::uint64_t batch) {
    return Fail(Blame::kMachine,
                "batch {} is not the one that was committed to: the disk of {} cannot be relied on",
                batch, folder.string());
  };
  Digest256 before = work.run.state;
  for (std::uint64_t batch = 0; batch < all; ++batch) {
    const auto part = work.BatchIn(responses, batch);
    for (const auto& response : part)
      run->token_roots_.push_back(TokenRoot(response, work.run.tokens_max));
    const BatchRecord record{batch, SequenceTree(work.run, run->token_roots_, batch).root()};
    const auto step = DecodeStepRecord(steps[batch]);
    if (Encode(record) != batches[batch] || !step || step->state_in != before)
      return damaged(batch);
    auto inputs = work.ground->Inputs(batch, step->step, part);
    if (!inputs ||
        Encode(RecordOfStep(work, *inputs, step->step, before, step->state_out)) != steps[batch])
      return damaged(batch);
    before = step->state_out;
    run->records_.push_back(*step);
    run->steps_.push_back(std::move(inputs->spec));
  }
  run->responses_ = std::make_shared<const RolloutClaims>(std::move(responses));
  return run;
}

RunCommit ReinforcedRun::Commit() {
  return {RunTree(work_.run, token_roots_, records_).root(), ProgramHash(work_.run)};
}

Bytes ReinforcedRun::Responses(std::uint64_t first) const {
  return PackResponses(*responses_, first, kResponsesBytes);
}

std::vector<HostTensor> ReinforcedRun::DataOf(std::uint64_t batch) const {
  auto inputs =
      work_.ground->Inputs(batch, records_[batch].step, work_.BatchIn(*responses_, batch));
  Check(inputs.has_value(), "a batch that was graded once can be graded again");
  return std::move(inputs->data);
}

const StepState* ReinforcedRun::Before(std::uint64_t batch) {
  if (state_at_ == batch) return &state_;
  state_at_.reset();
  auto at = NearestTrainer(work_, folder_, batch, ops_, pool_);
  if (!at) return nullptr;
  for (; at->batch < batch; ++at->batch)
    if (!StepOn(work_, *at->trainer, at->batch, *responses_)) return nullptr;
  state_ = StepStateOf(work_.state, *at->trainer);
  state_.data = DataOf(batch);
  state_at_ = batch;
  return &state_;
}

std::unique_ptr<DisputeParty> ReinforcedRun::Side(const DisputeTerms& terms, std::uint8_t side) {
  return std::make_unique<ReinforcementParty>(
      terms, side,
      ReinforcementParty::Setting{.specs = work_.specs,
                                  .steps = steps_,
                                  .data = [this](std::uint64_t batch) { return DataOf(batch); },
                                  .before = [this](std::uint64_t batch) { return Before(batch); },
                                  .description = work_.description,
                                  .ops = ops_,
                                  .pool = pool_},
      responses_, token_roots_, records_);
}

}  // namespace waggle
