#include "delegation/delegated_training.h"

#include <fmt/format.h>

#include "base/check.h"
#include "base/files.h"
#include "delegation/step_spec.h"
#include "training/checkpoint_folder.h"

namespace waggle {
namespace {

namespace fs = std::filesystem;

constexpr const char* kLogName = "commitment.log";
constexpr std::size_t kRecordBytes = kStepRecordBytes;
constexpr std::uint64_t kStepsMax = 1'000'000;     // specs are held in memory
constexpr std::uint64_t kPositionsMax = 1u << 16;  // of one sample: its tensors are asked for whole

RunProgram ProgramOf(const SftWork& work) {
  const TrainerConfig& trainer = work.recipe.trainer;
  RunProgram run;
  run.kind = DisputeKind::kTraining;
  run.config = WriteModelConfig(work.base.model.config, "float32");
  run.weights = static_cast<std::uint8_t>(work.numerics.weights);
  run.kv = static_cast<std::uint8_t>(work.numerics.kv);
  run.kshards = work.numerics.kshards;
  run.units = work.steps;
  PutClip(trainer.clip, run);
  return run;
}

}  // namespace

Status CheckDelegable(const SftWork& work) {
  const TrainerConfig& trainer = work.recipe.trainer;
  const auto no = [](const char* setting, const char* what) {
    return Fail(Blame::kOperator, "{}: disputes do not know {} (docs/disputes.md)", setting, what);
  };
  if (trainer.lora.rank > 0) return no("trainer.lora.rank", "adapters");
  if (trainer.optimizer.kind != "adamw") return no("trainer.optimizer.kind", "Muon");
  if (trainer.rounding == "stochastic" && work.numerics.weights == WeightFormat::kBf16)
    return no("trainer.rounding", "stochastic rounding");
  if (NeedsCritic(trainer.algorithm)) return no("trainer.algorithm", "critics");
  WG_TRY(CheckWritable(work.base.model.config));
  if (work.steps > kStepsMax)
    return Fail(Blame::kOperator, "{} steps: a program that others can be held to has at most {}",
                work.steps, kStepsMax);
  const auto model = ModelOf(ProgramOf(work));
  if (!model) return Forward(model.error());
  return {};
}

Result<DelegatedProgram> DelegatedProgram::Of(const SftWork& work) {
  WG_TRY(CheckDelegable(work));
  DelegatedProgram program;
  program.work_ = &work;
  program.run_ = ProgramOf(work);
  WG_ASSIGN(program.model_, ModelOf(program.run_));
  const ModelConfig& config = program.model_.config;
  program.state_ = StateOf(config, {});  // fp32 masters
  const TrainerConfig& trainer = work.recipe.trainer;
  WG_ASSIGN(const Optimizer optimizer, Optimizer::Create(trainer.optimizer, trainer.schedule));
  const std::vector<std::uint32_t> decay = DecayOf(optimizer, config);
  SftBatcher batcher(work.samples, work.recipe.data.batch_tokens, work.recipe.data.seed);
  OptimizerClock clock;
  for (std::uint64_t step = 0; step < work.steps; ++step) {
    program.cursors_.push_back(batcher.cursor());
    WG_ASSIGN(std::vector<TrainingSample> rows, SftRows(config, batcher.Next()));
    rows = ActiveRows(std::move(rows));
    if (rows.size() > kDisputeLimits.samples_max ||
        rows.size() * config.layers > kDisputeLimits.sample_layers_max)
      return Fail(Blame::kOperator,
                  "step {}: {} texts in one step are past the limits of disputes: lower "
                  "data.batch_tokens",
                  step, rows.size());
    for (const TrainingSample& sample : rows)
      if (sample.rows() > kPositionsMax)
        return Fail(Blame::kOperator, "step {}: a text of {} tokens is past the limits of disputes",
                    step, sample.rows());
    const AdamWNumbers numbers = optimizer.Advance(clock);
    StepSpec spec = StepSpecOf(rows, numbers, decay);
    PutBetas(numbers, program.run_);
    const auto graph = StepProgramOf(program.run_, program.model_, spec);
    if (!graph) return Fail(Blame::kOperator, "step {}: {}", step, graph.error().what);
    program.specs_.push_back(std::move(spec));
  }
  const Parameters& initial = work.base.model.parameters;
  const OptimizerState moments = Optimizer::InitialState(initial);
  program.run_.state = StateRootOf(program.state_, initial, moments.m, moments.v, 0);
  program.run_.data = SpecRoot(program.specs_);
  return program;
}

std::vector<HostTensor> DelegatedProgram::DataOf(std::uint64_t step) const {
  SftBatcher batcher(work_->samples, work_->recipe.data.batch_tokens, work_->recipe.data.seed);
  batcher.Seek(cursors_[step]);
  auto rows = SftRows(model_.config, batcher.Next());
  Check(rows.has_value(), "a batch that was read once can be read again");
  return DataTensors(ActiveRows(std::move(*rows)));
}

Digest256 DelegatedProgram::TemplateOf(std::uint64_t step) const {
  const auto graph = StepProgramOf(run_, model_, specs_[step]);
  Check(graph.has_value(), "a step that was formed once can be formed again");
  return TemplateHash(*graph);
}

Result<std::vector<StepRecord>> CommitmentLog::Read(const fs::path& folder) {
  WG_ASSIGN(const std::vector<Bytes> found, RecordFile::Read(folder / kLogName, kRecordBytes));
  std::vector<StepRecord> records;
  for (const Bytes& bytes : found) {
    const auto record = DecodeStepRecord(bytes);
    if (!record || record->step != records.size())
      return Fail(Blame::kMachine, "{}: record {} is damaged", (folder / kLogName).string(),
                  records.size());
    records.push_back(*record);
  }
  return records;
}

Result<CommitmentLog> CommitmentLog::Open(const fs::path& folder) {
  WG_ASSIGN(auto records, Read(folder));
  WG_ASSIGN(RecordFile file, RecordFile::Open(folder / kLogName, kRecordBytes));
  CommitmentLog log(std::move(file));
  log.records_ = std::move(records);
  return log;
}

Status CommitmentLog::Add(const StepRecord& record) {
  WG_TRY(file_.Put(record.step, Encode(record), "step"));
  if (record.step == records_.size()) records_.push_back(record);
  return {};
}

Result<StepNotary> StepNotary::Open(const SftWork& work, const fs::path& folder,
                                    const Trainer& trainer) {
  WG_ASSIGN(DelegatedProgram program, DelegatedProgram::Of(work));
  WG_ASSIGN(CommitmentLog log, CommitmentLog::Open(folder));
  if (trainer.step() > log.records().size())
    return Fail(Blame::kOperator,
                "{} has no commitment to its first {} steps: begin it anew in another folder",
                folder.string(), trainer.step());
  StepNotary notary(std::move(program), std::move(log));
  const OptimizerState& state = trainer.optimizer_state();
  notary.before_ =
      StateRootOf(notary.program_.state(), trainer.parameters(), state.m, state.v, trainer.step());
  return notary;
}

Status StepNotary::AfterStep(const Trainer& trainer) {
  const std::uint64_t step = trainer.step() - 1;
  const OptimizerState& state = trainer.optimizer_state();
  const Digest256 after =
      StateRootOf(program_.state(), trainer.parameters(), state.m, state.v, trainer.step());
  const StepRecord record{step, before_, program_.specs()[step].data, program_.TemplateOf(step),
                          {},   after};
  before_ = after;
  return log_.Add(record);
}

Result<std::unique_ptr<TrainedRun>> TrainedRun::Open(const fs::path& folder, const Ops& ops,
                                                     ThreadPool& pool) {
  WG_ASSIGN(SftRecipe recipe, LoadSftRecipe(folder));
  WG_ASSIGN(SftWork work, OpenSftWork(std::move(recipe)));
  std::unique_ptr<TrainedRun> run(new TrainedRun(folder, std::move(work), ops, pool));
  WG_ASSIGN(run->program_, DelegatedProgram::Of(run->work_));
  WG_ASSIGN(run->records_, CommitmentLog::Read(folder));
  if (run->records_.size() == run->program_->run().units) return run;
  return Fail(Blame::kOperator,
              "{} has a commitment to {} of its {} steps: it needs `commitment = true` in its "
              "recipe and `waggle sft` to the end",
              folder.string(), run->records_.size(), run->program_->run().units);
}

RunCommit TrainedRun::Commit() {
  return {RecordTree(records_).root(), ProgramHash(program_->run())};
}

const StepState* TrainedRun::Before(std::uint64_t step) {
  if (state_at_ == step) return &state_;
  auto trainer = OpenSftTrainer(work_, work_.base.model.parameters, folder_ / "checkpoints", step,
                                ops_, pool_, nullptr);
  if (!trainer) return nullptr;
  auto batches = BatchesAt(work_, **trainer);
  if (!batches) return nullptr;
  while ((*trainer)->step() < step) {
    if (!(*trainer)->SftStep(batches->Next())) return nullptr;
  }
  state_ = StepStateOf(program_->state(), **trainer);
  state_.data = program_->DataOf(step);
  state_at_ = step;
  return &state_;
}

std::unique_ptr<DisputeParty> TrainedRun::Side(const DisputeTerms& terms, std::uint8_t side) {
  return std::make_unique<TrainingParty>(
      terms, side,
      TrainingParty::Setting{.specs = program_->specs(),
                             .data = [this](std::uint64_t step) { return program_->DataOf(step); },
                             .before = [this](std::uint64_t step) { return Before(step); },
                             .ops = ops_,
                             .pool = pool_},
      records_);
}

}  // namespace waggle
