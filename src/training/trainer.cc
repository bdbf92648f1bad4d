#include "training/trainer.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "base/hex.h"
#include "training/fault_dump.h"
#include "training/sft_data.h"
#include "training/state_hash.h"
#include "training/trainer_impl.h"

namespace waggle {

Status Validate(const TrainerConfig& config) {
  WG_TRY(Validate(config.algorithm));
  const auto optimizer = Optimizer::Create(config.optimizer, config.schedule);
  if (!optimizer) return Forward(optimizer.error());
  return ParseDecimal(config.algorithm.critic.lr, "algorithm.critic.lr").map([](Decimal) {});
}

Recompute RecomputeOf(const TrainerConfig& config) {
  if (config.recompute == "none") return Recompute::kNone;
  return config.recompute == "swiglu" ? Recompute::kSwiGlu : Recompute::kBlock;
}

Status Trainer::Impl::Prepare() {
  WG_ASSIGN(optimizer, Optimizer::Create(config.optimizer, config.schedule));
  for (const TensorSpec& spec : TensorSpecs(model)) {
    const auto found = masters.find(spec.name);
    if (found == masters.end())
      return Fail(Blame::kOperator, "the starting weights lack {}", spec.name);
    if (found->second.shape != spec.shape)
      return Fail(Blame::kOperator, "{} has another shape than the model asks for", spec.name);
  }
  if (masters.size() != TensorSpecs(model).size())
    return Fail(Blame::kOperator, "the starting weights hold tensors that the model does not know");
  if (state.m.empty()) state = Optimizer::InitialState(trained());
  for (const auto& [name, tensor] : trained()) {
    (lora ? lora_gradients.tensors : gradients).emplace(name, ZeroTensor(tensor.shape));
  }
  if (lora) lora_gradients.config = lora->config;
  if (NeedsCritic(config.algorithm) && !critic) {
    WG_ASSIGN(critic, Critic::Create(model, numerics.kshards, Critic::InitialState(model, masters),
                                     config, ops));
  }
  return Working().map([](const auto&) {});
}

Result<std::shared_ptr<const Model>> Trainer::Impl::NewWorking(const Parameters& weights,
                                                               const LoraParameters* adapters) {
  if (retired != nullptr) return Model::Renew(std::move(retired), weights, adapters);
  return Model::Create(model, numerics, weights, adapters, ops);
}

Result<std::shared_ptr<const Model>> Trainer::Impl::Working() {
  if (working != nullptr) return working;
  const LoraParameters* adapters = lora ? &*lora : nullptr;
  if (config.rounding == "stochastic" && numerics.weights == WeightFormat::kBf16 && !lora) {
    Parameters rounded = masters;
    for (auto& [name, tensor] : rounded) {
      const std::span<float> data(tensor.data.data(), tensor.size());
      RoundStochasticBf16(StochasticKey(run_id, name), static_cast<std::uint32_t>(state.step), data,
                          data);
    }
    WG_ASSIGN(working, NewWorking(rounded, adapters));
  } else {
    WG_ASSIGN(working, NewWorking(masters, adapters));
  }
  return working;
}

Result<std::shared_ptr<const Model>> Trainer::Impl::Reference() {
  if (reference_model == nullptr) {
    if (!config.algorithm.kl.teacher.empty())
      return Fail(Blame::kOperator, "kl.teacher: the teacher '{}' was not loaded",
                  config.algorithm.kl.teacher);
    WG_ASSIGN(reference_model,
              Model::Create(model, numerics, reference ? *reference : masters, nullptr, ops));
  }
  return reference_model;
}

Hash256 Trainer::Impl::Hash() const {
  std::string header =
      fmt::format("WGL-STATE-1\nstep {}\nbeta1 {}\nbeta2 {}\nkl {}\n", state.step,
                  HexDouble(state.beta1_power), HexDouble(state.beta2_power), HexDouble(kl_beta));
  std::vector<NamedSet> sets{{"p", &masters}};
  if (lora) sets.push_back({"a", &lora->tensors});
  sets.push_back({"m", &state.m});
  sets.push_back({"v", &state.v});
  if (reference) sets.push_back({"r", &*reference});
  if (critic) {
    const OptimizerState& moments = critic->state().optimizer;
    header += fmt::format("critic step {}\nbeta1 {}\nbeta2 {}\n", moments.step,
                          HexDouble(moments.beta1_power), HexDouble(moments.beta2_power));
    sets.push_back({"cp", &critic->state().parameters});
    sets.push_back({"cm", &moments.m});
    sets.push_back({"cv", &moments.v});
  }
  return HashState(pool, header, sets);
}

void Trainer::Impl::RetireWorking() {
  if (working != nullptr) retired = std::move(working);
}

static void SetZero(Parameters& tensors) {
  for (auto& [name, tensor] : tensors) std::fill(tensor.data.begin(), tensor.data.end(), 0.0f);
}

Result<Trainer::Impl::Update> Trainer::Impl::Apply(
    std::span<const TrainingSample> samples,
    const std::function<Status(const std::vector<TokenScores>&)>& accept) {
  Update update;
  update.scores.resize(samples.size());
  std::vector<const TrainingSample*> active;
  std::vector<std::size_t> index;
  for (std::size_t s = 0; s < samples.size(); ++s) {
    if (!samples[s].CarriesGradient()) continue;
    active.push_back(&samples[s]);
    index.push_back(s);
    update.tokens += samples[s].rows();
  }
  if (active.empty()) return update;
  WG_ASSIGN(const auto weights, Working());
  Parameters& sums = lora ? lora_gradients.tensors : gradients;
  SetZero(sums);
  SetZero(tied);
  const GradientSink sink{.full = lora ? nullptr : &gradients,
                          .lora = lora ? &lora_gradients : nullptr,
                          .tied_embedding = model.tied_head && !lora ? &tied : nullptr};
  std::vector<TokenScores> scores;
  for (const auto& [begin, end] : MicroBatches(active, config.micro_batch_tokens)) {
    const PackedBatch packed = Pack(std::span(active).subspan(begin, end - begin));
    WG_ASSIGN(const TokenScores part,
              Backward(*weights, pool, packed.batch, packed.targets, packed.u, packed.u_entropy,
                       RecomputeOf(config), sink, &memory));
    Unpack(packed, part, scores);
  }
  for (std::size_t i = 0; i < index.size(); ++i) update.scores[index[i]] = std::move(scores[i]);
  WG_TRY(accept(update.scores));
  FinishGradients(model, sink);
  update.gradient_norm = GradientNorm(ops, pool, sums);
  if (!std::isfinite(update.gradient_norm))
    return Fail(Blame::kMachine, "numeric fault: the norm of the gradient is not finite");
  update.learning_rate = static_cast<double>(
      optimizer.Step(ops, pool, sums, update.gradient_norm, config.clip, trained(), state));
  update.stepped = true;
  RetireWorking();
  return update;
}

Result<StepReport> Trainer::Impl::Sft(const std::vector<SftSample>& samples) {
  WG_ASSIGN(const std::vector<TrainingSample> rows, SftRows(model, samples));
  StepReport report;
  const auto fold_loss = [&](const std::vector<TokenScores>& scores) -> Status {
    for (std::size_t s = 0; s < rows.size(); ++s) {
      for (std::size_t i = 0; i < scores[s].logp.size(); ++i) {
        const double term =
            static_cast<double>(rows[s].u[i]) * static_cast<double>(scores[s].logp[i]);
        report.loss += term;
      }
    }
    return {};
  };
  WG_ASSIGN(const Update update, Apply(rows, fold_loss));
  report.step = state.step;
  report.gradient_norm = update.gradient_norm;
  report.learning_rate = update.learning_rate;
  report.tokens = update.tokens;
  report.loss_tokens = LossTokens(rows);
  return report;
}

Trainer::Trainer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Trainer::~Trainer() = default;

Result<std::unique_ptr<Trainer>> Trainer::Create(const ModelConfig& model,
                                                 const NumericsConfig& numerics, Parameters initial,
                                                 const TrainerConfig& config, const Ops& ops,
                                                 ThreadPool& pool) {
  WG_TRY(Validate(config));
  auto impl = std::make_unique<Impl>(model, numerics, config, ops, pool);
  impl->masters = std::move(initial);
  impl->kl_beta = config.algorithm.kl.beta;
  if (config.lora.rank > 0) {
    const LoraConfig lora{.rank = config.lora.rank,
                          .alpha = static_cast<float>(config.lora.alpha),
                          .targets = config.lora.targets};
    impl->lora = InitLora(model, lora, config.lora.seed);
    if (impl->lora->tensors.empty())
      return Fail(Blame::kOperator, "lora.targets names no layer of this model");
  } else if (KeepsReference(config.algorithm)) {
    impl->reference = impl->masters;
  }
  WG_TRY(impl->Prepare());
  return std::unique_ptr<Trainer>(new Trainer(std::move(impl)));
}

// Runs one step; a numeric fault leaves a dump of the batch it happened on.
template <class Impl, class Step>
static Result<StepReport> Guarded(Impl& impl, const FaultBatchView& batch, const Step& step) {
  Result<StepReport> report = step();
  if (report || report.error().blame != Blame::kMachine || impl.faults.empty()) return report;
  const Status dumped =
      WriteFaultDump(impl.faults, impl.state.step, impl.Hash(), report.error().what, batch);
  Error error = report.error();
  error.what += dumped ? fmt::format("; the batch is in {}",
                                     FaultDumpPath(impl.faults, impl.state.step).string())
                       : "; no dump: " + dumped.error().what;
  return Forward(std::move(error));
}

Result<StepReport> Trainer::SftStep(const std::vector<SftSample>& samples) {
  return Guarded(*impl_, FaultBatchView{.sft = &samples}, [&] { return impl_->Sft(samples); });
}
Result<StepReport> Trainer::PolicyStep(const std::vector<ScoredGroup>& groups,
                                       std::optional<PolicyVersion> current) {
  return Guarded(*impl_, FaultBatchView{.groups = &groups, .current = current},
                 [&] { return impl_->Policy(groups, current); });
}
Result<std::vector<std::size_t>> Trainer::FindForgeries(const std::vector<ScoredGroup>& groups,
                                                        PolicyVersion current) {
  return impl_->Forgeries(groups, current);
}
Status Trainer::UseTeacher(std::shared_ptr<const Model> teacher) {
  const std::size_t ours = impl_->model.vocab, theirs = teacher->config().vocab;
  if (ours != theirs)
    return Fail(Blame::kOperator,
                "kl.teacher: a vocabulary of {} words, the policy has {}: a teacher reads the "
                "policy's tokens",
                theirs, ours);
  if (teacher->config().max_positions < impl_->model.max_positions)
    return Fail(Blame::kOperator,
                "kl.teacher: it reads {} positions, the policy {}: the longest sequences would not "
                "fit the teacher",
                teacher->config().max_positions, impl_->model.max_positions);
  impl_->reference_model = std::move(teacher);
  return {};
}
void Trainer::DumpFaultsTo(std::filesystem::path directory) {
  impl_->faults = std::move(directory);
}

Result<StepReport> Trainer::ReplayDump(const std::filesystem::path& dump) {
  WG_ASSIGN(const FaultDump read, ReadFaultDump(dump));
  if (read.state != StateHash()) {
    return Fail(Blame::kOperator, "{}: the dump belongs to state {}, this is {}", dump.string(),
                ToHex(read.state), ToHex(StateHash()));
  }
  return read.batch.sft.empty() ? impl_->Policy(read.batch.groups, read.batch.current)
                                : impl_->Sft(read.batch.sft);
}

std::uint64_t Trainer::step() const { return impl_->state.step; }
const Parameters& Trainer::parameters() const { return impl_->masters; }
const LoraParameters* Trainer::lora() const { return impl_->lora ? &*impl_->lora : nullptr; }
const OptimizerState& Trainer::optimizer_state() const { return impl_->state; }
Result<std::shared_ptr<const Model>> Trainer::WorkingModel() { return impl_->Working(); }
Hash256 Trainer::StateHash() const { return impl_->Hash(); }
void Trainer::SetRunId(const Hash256& run_id) {
  impl_->run_id = run_id;
  if (impl_->config.rounding == "stochastic") impl_->RetireWorking();
}
void Trainer::SetCursor(std::string cursor) { impl_->cursor = std::move(cursor); }
const std::string& Trainer::cursor() const { return impl_->cursor; }

Status Trainer::SaveCheckpoint(const std::filesystem::path& directory) const {
  return impl_->Save(directory);
}

Result<std::unique_ptr<Trainer>> Trainer::LoadCheckpoint(const std::filesystem::path& directory,
                                                         const ModelConfig& model,
                                                         const NumericsConfig& numerics,
                                                         const TrainerConfig& config,
                                                         const Ops& ops, ThreadPool& pool) {
  WG_TRY(Validate(config));
  auto impl = std::make_unique<Impl>(model, numerics, config, ops, pool);
  WG_TRY(impl->Load(directory));
  return std::unique_ptr<Trainer>(new Trainer(std::move(impl)));
}

}  // namespace waggle
