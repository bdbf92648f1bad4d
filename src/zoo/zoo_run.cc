#include "zoo/zoo_run.h"

#include "base/check.h"
#include "policy/model_image.h"
#include "proofs/fingerprint/cases.h"
#include "run/lease_maker.h"
#include "run/run_description.h"
#include "run/step_check.h"

namespace waggle {
namespace {

constexpr LedgerId kLedger{Digest256{7}};
constexpr std::uint32_t kFirstBatch = 24;  // groups

BaseModelContext ContextOf(const Ops& ops, ThreadPool& pool, const std::filesystem::path& cache) {
  return {.ops = &ops, .pool = &pool, .cache_directory = cache, .say = [](const std::string&) {}};
}

}  // namespace

KeyPair ZooKey(std::string_view name) {
  const std::string text = "waggle-zoo-key-1" + std::string(name);
  return KeyPair::FromSeed(
      Sha256({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()}));
}

Recipe ZooRecipe(bool tiny) {
  Recipe recipe;
  recipe.name = "zoo";
  recipe.model.layers = 2;
  recipe.model.hidden = tiny ? 16 : 64;
  recipe.model.heads = tiny ? 2 : 4;
  recipe.model.kv_heads = tiny ? 1 : 2;
  recipe.model.intermediate = tiny ? 16 : 128;
  recipe.model.positions = 64;
  recipe.warmup.steps = tiny ? 60 : 90;
  recipe.warmup.batch = tiny ? 32 : 64;
  recipe.environment.name = "reverse";
  recipe.environment.settings =
      tiny ? std::vector<std::string>{"length_min=1", "length_max=2", "alphabet=0123"}
           : std::vector<std::string>{"length_min=3", "length_max=5", "alphabet=0123"};
  recipe.sampling.tokens_max = tiny ? 8 : 10;
  recipe.orchestrator.groups_per_step = 4;
  recipe.orchestrator.group_size = 4;
  recipe.orchestrator.steps = 40;
  recipe.evaluation.tasks = 8;
  recipe.trainer.optimizer.lr = "1e-3";
  recipe.trust.audits = true;
  // The recipe's default is 0: then a lazy validator has nothing to lose but its seat.
  recipe.trust.validator_stake = 100;
  return recipe;
}

Recipe ZooStepRecipe() {
  Recipe recipe = ZooRecipe();
  recipe.orchestrator.groups_per_step = kFirstBatch;
  return recipe;
}

Result<std::unique_ptr<ZooRun>> ZooRun::Open(const Recipe& recipe, std::filesystem::path cache,
                                             const Ops& ops, unsigned threads) {
  std::unique_ptr<ZooRun> run(new ZooRun(recipe, std::move(cache), ops, threads));
  WG_TRY(run->Begin());
  WG_TRY(run->FirstStep());
  return run;
}

Status ZooRun::Begin() {
  WG_ASSIGN(environment_, MakeEnvironment(recipe_.environment, {}));
  WG_ASSIGN(BaseModel base, PrepareBaseModel(recipe_, ContextOf(ops_, pool_, cache_)));
  base_.emplace(std::move(base));
  Recipe other = recipe_;
  other.seed += 1;
  WG_ASSIGN(BaseModel stranger, PrepareBaseModel(other, ContextOf(ops_, pool_, cache_)));
  WG_ASSIGN(numerics_, NumericsOf(recipe_.model));
  WG_ASSIGN(auto suffix, PromptSuffix(recipe_, base_->tokenizer));
  codec_.emplace(*environment_, base_->tokenizer, base_->model.config.eos, std::move(suffix));
  parameters_[ZooWeights::kVersion0] = base_->model.parameters;
  parameters_[ZooWeights::kOtherSeed] = std::move(stranger.model.parameters);
  WG_ASSIGN(const auto trainer, TrainerAt(PolicyVersion{0}));
  start_ = trainer->StateHash();
  id_ = RunIdOf(recipe_, start_);
  description_ = EncodeDescription(recipe_, base_->model.config, base_->tokenizer, start_);
  Publish(PolicyVersion{0}, nullptr);
  return {};
}

// A real step, so that versions 0 and 1 are as near as neighbours are.
Status ZooRun::FirstStep() {
  for (std::uint32_t i = 0; i < kFirstBatch; ++i) {
    const Lease lease = LeaseOf(i, PolicyVersion{0});
    WG_ASSIGN(Group group, Honest(lease, ops_));
    first_batch_.push_back({lease, std::move(group)});
  }
  WG_ASSIGN(const auto trainer, TrainerAt(PolicyVersion{0}));
  WG_ASSIGN(const Hash256 after,
            StepAgain(*trainer, recipe_, first_batch_, PolicyVersion{0}, *codec_, config().vocab));
  if (after == start_) return Fail(Blame::kBug, "the zoo's first step taught nothing");
  const Parameters& next = trainer->parameters();
  parameters_[ZooWeights::kVersion1] = next;
  parameters_[ZooWeights::kAdapter] = next;
  parameters_[ZooWeights::kInt8] = next;
  parameters_[ZooWeights::kNearby] = PerturbedWeights(next, 5, 1e-3);
  parameters_[ZooWeights::kDraft] = RoundedWeights(next, 7);
  adapter_ = InitLora(config(), LoraConfig{.rank = 4}, 3);
  // Adapters begin with B = 0; this one has learnt something.
  Rng rng(11, 3);
  for (auto& [name, tensor] : adapter_->tensors) {
    if (name.find("lora_B") == std::string::npos) continue;
    for (float& w : tensor.data) w = static_cast<float>(0.05 * (2 * rng.Unit() - 1));
  }
  Publish(PolicyVersion{1}, nullptr);
  Publish(PolicyVersion{2}, &*adapter_);
  return {};
}

void ZooRun::Publish(PolicyVersion version, const LoraParameters* lora) {
  const PolicyImage image =
      ImageOf(parameters_.at(WeightsOf(version)), numerics_.weights, lora, pool_);
  roots_[version] = image.root();
  policies_.push_back(SignClaim(PolicyClaim{id_, version, image.root(), Sha256(description_)},
                                ZooKey("orchestrator")));
}

ZooWeights ZooRun::WeightsOf(PolicyVersion version) {
  Check(version.value <= 2, "the zoo has three versions");
  return static_cast<ZooWeights>(version.value);
}

ExaminedRun ZooRun::Examined() const {
  return {id_, recipe_, *codec_, config().vocab, static_cast<std::uint32_t>(config().layers)};
}

PolicyLookup ZooRun::Lookup(const Ops& ops) {
  return [this, &ops](PolicyVersion version) -> Result<const Model*> {
    if (version.value > 2) return Fail(Blame::kMachine, "no version {}", version.value);
    WG_ASSIGN(const auto model, ModelOf(WeightsOf(version), ops));
    return model.get();  // kept in models_
  };
}

Result<std::shared_ptr<const Model>> ZooRun::ModelOf(ZooWeights weights, const Ops& ops) {
  auto& model = models_[{weights, ops.name}];
  if (model) return model;
  NumericsConfig numerics = numerics_;
  if (weights == ZooWeights::kInt8) numerics.weights = WeightFormat::kInt8;
  const LoraParameters* lora = weights == ZooWeights::kAdapter ? &*adapter_ : nullptr;
  WG_ASSIGN(model, Model::Create(config(), numerics, parameters_.at(weights), lora, ops));
  return model;
}

Lease ZooRun::LeaseOf(std::uint32_t index, PolicyVersion version) const {
  return LeaseMaker(id_, recipe_, *codec_).Fresh(LeaseIdOf(version.value, index), version);
}

Result<Group> ZooRun::Honest(const Lease& lease, const Ops& ops) {
  WG_ASSIGN(const auto model, ModelOf(WeightsOf(lease.version), ops));
  return SampleGroup(*codec_, lease, model, lease.version, {.kv_bytes = std::size_t{8} << 20},
                     pool_);
}

Result<std::unique_ptr<Trainer>> ZooRun::TrainerAt(PolicyVersion version,
                                                   const TrainerConfig& config) {
  Check(version.value <= 1, "the zoo keeps the states of versions 0 and 1");
  WG_ASSIGN(auto trainer,
            Trainer::Create(base_->model.config, numerics_, parameters_.at(ZooWeights::kVersion0),
                            config, ops_, pool_));
  if (version.value == 0) return trainer;
  WG_ASSIGN(const Hash256 after, StepAgain(*trainer, recipe_, first_batch_, PolicyVersion{0},
                                           *codec_, base_->model.config.vocab));
  static_cast<void>(after);
  return trainer;
}

Evidence ZooRun::AccuseWorker(const std::vector<Group>& groups, const std::vector<Lease>& leases,
                              std::uint32_t at, const Examination& found) const {
  const KeyPair worker = ZooKey("worker");
  std::vector<Hash256> hashes;
  for (const Group& group : groups) hashes.push_back(GroupHash(group));
  SignedBatch batch{.ledger = kLedger,
                    .claim = {.run = LedgerRun{id_},
                              .epoch = 1,
                              .worker = worker.id(),
                              .root = BatchRoot(hashes),
                              .items = static_cast<std::uint32_t>(groups.size())}};
  batch.signature = SignBatch(worker, kLedger, batch.claim);
  Evidence evidence{.run = id_,
                    .description_hash = Sha256(description_),
                    .description = description_,
                    .orchestrator = ZooKey("orchestrator").id(),
                    .accused = worker.id(),
                    .reason = std::get<Reject>(found.verdict).reason,
                    .rollout = found.rollout,
                    .token = found.token,
                    .policies = policies_};
  evidence.group = GroupProof{batch, BatchPath(hashes, at), leases[at], groups[at]};
  return evidence;
}

Evidence ZooRun::AccuseTrainer(const StepClaim& claim,
                               const std::vector<GroupRecord>& records) const {
  const KeyPair trainer = ZooKey("trainer");
  Evidence evidence{.run = id_,
                    .description_hash = Sha256(description_),
                    .description = description_,
                    .orchestrator = ZooKey("orchestrator").id(),
                    .accused = trainer.id(),
                    .reason = RejectReason::kWrongStep};
  evidence.step = StepProof{SignClaim(claim, trainer), EncodeRecords(records)};
  return evidence;
}

Decision ZooRun::DecideFile(const Evidence& evidence) {
  const auto opened = OpenEvidence(SealEvidence(evidence, ZooKey("accuser")));
  if (!opened) return {Decision::Kind::kNotProved, opened.error().what};
  return Decide(*opened, *this, pool_, ZooKey("orchestrator").id());
}

Result<Bytes> ZooRun::Description(const Hash256&, const Hash256& hash) {
  if (hash == Sha256(description_)) return description_;
  return Fail(Blame::kMachine, "no such description");
}

Result<std::shared_ptr<const Model>> ZooRun::Policy(const RunSite&, const Hash256&,
                                                    PolicyVersion version, const Hash256& root) {
  const auto known = roots_.find(version);
  if (known == roots_.end() || known->second != root)
    return Fail(Blame::kMachine, "no such policy");
  return ModelOf(WeightsOf(version), ops_);
}

Result<std::unique_ptr<Trainer>> ZooRun::State(const RunSite&, const Hash256&,
                                               PolicyVersion version, const Hash256& hash) {
  if (version.value > 1) return Fail(Blame::kMachine, "no such state");
  WG_ASSIGN(auto trainer, TrainerAt(version));
  if (trainer->StateHash() != hash) return Fail(Blame::kMachine, "no such state");
  return trainer;
}

}  // namespace waggle
