// A tiny run whose groups can be sampled, batched, signed and examined, for tests of audits and
// evidence. Same seeds, same bytes, on every machine: golden files come from here.
#pragma once

#include <gtest/gtest.h>

#include <map>

#include "audit/evidence_check.h"
#include "audit/examine.h"
#include "audit/public_inputs.h"
#include "audit/receipt_check.h"
#include "base/test_folder.h"
#include "policy/model_image.h"
#include "protocol/envelope.h"
#include "protocol/limits.h"
#include "roles/sample_group.h"
#include "run/lease_maker.h"
#include "run/test_recipe.h"

namespace waggle {

inline Recipe AuditRecipe() {
  Recipe recipe = SmallRecipe();
  recipe.model.layers = 2;
  recipe.model.hidden = 16;
  recipe.model.heads = 2;
  recipe.model.kv_heads = 1;
  recipe.model.intermediate = 16;
  recipe.model.positions = 32;
  recipe.warmup.steps = 10;
  return recipe;
}

inline KeyPair TestKey(std::uint8_t number) {
  std::array<std::uint8_t, 32> seed{};
  seed.fill(number);
  return KeyPair::FromSeed(seed);
}

// What evidence names, from memory.
class TestInputs final : public PublicInputs {
 public:
  std::map<Digest256, std::shared_ptr<const Model>> models;
  std::function<Result<std::unique_ptr<Trainer>>(const Hash256&)> state;
  Bytes description;

  Result<Bytes> Description(const Hash256&, const Hash256& hash) override {
    if (Sha256(description) == hash) return description;
    return Fail(Blame::kMachine, "no such description");
  }
  Result<std::shared_ptr<const Model>> Policy(const RunSite&, const Hash256&, PolicyVersion,
                                              const Hash256& root) override {
    if (const auto found = models.find(root); found != models.end()) return found->second;
    return Fail(Blame::kMachine, "no such policy");
  }
  Result<std::unique_ptr<Trainer>> State(const RunSite&, const Hash256&, PolicyVersion,
                                         const Hash256& hash) override {
    if (state) return state(hash);
    return Fail(Blame::kMachine, "no such state");
  }
};

// A run's beginning without anything on disk but its cached starting model.
struct TestRun {
  TestRun(const Recipe& r, const std::filesystem::path& cache) : recipe(r), pool(1) {
    environment = MakeEnvironment(recipe.environment, {}).value();
    numerics = NumericsOf(recipe.model).value();
    base.emplace(PrepareBaseModel(recipe, {.ops = &BestOps(),
                                           .pool = &pool,
                                           .cache_directory = cache,
                                           .say = [](const std::string&) {}})
                     .value());
    trainer = Trainer::Create(base->model.config, numerics, std::move(base->model.parameters),
                              recipe.trainer, BestOps(), pool)
                  .value();
    start = trainer->StateHash();
    run_id = RunIdOf(recipe, start);
    codec.emplace(*environment, base->tokenizer, base->model.config.eos,
                  PromptSuffix(recipe, base->tokenizer).value());
  }

  Recipe recipe;
  ThreadPool pool;
  std::unique_ptr<Environment> environment;
  NumericsConfig numerics;
  std::optional<BaseModel> base;  // parameters are moved into the trainer
  std::unique_ptr<Trainer> trainer;
  Hash256 start{}, run_id{};
  std::optional<TaskCodec> codec;
};

class TestAudit {
 public:
  explicit TestAudit(const Recipe& recipe = AuditRecipe())
      : run(std::make_unique<TestRun>(recipe, folder.path())) {
    description =
        EncodeDescription(run->recipe, run->base->model.config, run->base->tokenizer, run->start);
    Publish(PolicyVersion{0});
  }

  // The trainer's weights as they are now, as this version.
  void Publish(PolicyVersion version) {
    models[version] = run->trainer->WorkingModel().value();
    const PolicyImage image =
        ImageOf(run->trainer->parameters(), run->numerics.weights, nullptr, run->pool);
    policies.push_back(SignClaim(
        PolicyClaim{run->run_id, version, image.root(), Sha256(description)}, orchestrator));
    inputs.models[image.root()] = models[version];
  }

  ExaminedRun Examined() const {
    const ModelConfig& model = run->base->model.config;
    return {run->run_id, run->recipe, *run->codec, model.vocab,
            static_cast<std::uint32_t>(model.layers)};
  }
  PolicyLookup Lookup() const {
    return [this](PolicyVersion version) -> Result<const Model*> {
      const auto found = models.find(version);
      if (found == models.end()) return Fail(Blame::kMachine, "no version {}", version.value);
      return found->second.get();
    };
  }
  Lease LeaseOf(std::uint32_t index, std::uint64_t wave = 0) const {
    return LeaseMaker(run->run_id, run->recipe, *run->codec)
        .Fresh(LeaseIdOf(wave, index), PolicyVersion{wave});
  }

  // What an honest worker hands in for a lease; or what it would, if it were asked for another one
  // or had other weights.
  Group Sample(const Lease& lease, std::shared_ptr<const Model> other = nullptr) {
    EngineConfig config;
    config.kv_bytes = std::size_t{8} << 20;
    return SampleGroup(*run->codec, lease, other ? other : models.at(lease.version), lease.version,
                       config, run->pool)
        .value();
  }

  // These groups as a batch of epoch 3, signed by `key`.
  SignedBatch Batch(const std::vector<Group>& groups, const KeyPair& key) const {
    std::vector<Hash256> hashes;
    for (const Group& group : groups) hashes.push_back(GroupHash(group));
    SignedBatch batch{.ledger = ledger,
                      .claim = {.run = LedgerRun{run->run_id},
                                .epoch = 3,
                                .worker = key.id(),
                                .root = BatchRoot(hashes),
                                .items = static_cast<std::uint32_t>(groups.size())}};
    batch.signature = SignBatch(key, ledger, batch.claim);
    return batch;
  }
  // The evidence that `at` of these groups, signed by `key`, is what `examination` says it is.
  Evidence Accuse(const std::vector<Group>& groups, std::uint32_t at, const KeyPair& key,
                  RejectReason reason, std::uint32_t rollout, std::uint32_t token) const {
    std::vector<Hash256> hashes;
    for (const Group& group : groups) hashes.push_back(GroupHash(group));
    Evidence evidence = About(key.id(), reason);
    evidence.rollout = rollout;
    evidence.token = token;
    const LeaseMaker maker(run->run_id, run->recipe, *run->codec);
    evidence.group = GroupProof{Batch(groups, key), BatchPath(hashes, at),
                                maker.Fresh(groups[at].lease, PolicyVersion{0}), groups[at]};
    evidence.policies = policies;
    return evidence;
  }
  Evidence About(const NodeId& accused, RejectReason reason) const {
    Evidence evidence{.run = run->run_id,
                      .description_hash = Sha256(description),
                      .description = description,
                      .orchestrator = orchestrator.id(),
                      .accused = accused,
                      .reason = reason};
    return evidence;
  }
  // As anybody decides who got the file.
  Decision DecideFile(const Evidence& evidence) {
    const auto opened = OpenEvidence(SealEvidence(evidence, accuser));
    EXPECT_TRUE(opened) << opened.error().what;
    ThreadPool pool(2);
    return Decide(*opened, inputs, pool);
  }

  TempFolder folder;
  std::unique_ptr<TestRun> run;
  const KeyPair orchestrator = TestKey(1), worker = TestKey(2), validator = TestKey(3),
                accuser = TestKey(4);
  const LedgerId ledger{Digest256{7}};
  Bytes description;
  std::map<PolicyVersion, std::shared_ptr<const Model>> models;
  std::vector<Signed<PolicyClaim>> policies;
  TestInputs inputs;
};

// One group of three, as the batch of a canary, that `says_bad` is said of, and that `change` was
// made in.
inline Evidence OnCanary(TestAudit& audit, bool says_bad,
                         const std::function<void(Group&)>& change) {
  std::vector<Group> groups;
  for (std::uint32_t i = 0; i < 3; ++i) groups.push_back(audit.Sample(audit.LeaseOf(i)));
  change(groups[1]);
  const KeyPair identity = TestKey(9);
  Evidence evidence = audit.Accuse(groups, 1, identity, RejectReason::kFalseCanary, 0, 0);
  evidence.accused = audit.orchestrator.id();
  const CanaryReveal reveal{.run = LedgerRun{audit.run->run_id},
                            .epoch = evidence.group->batch.claim.epoch,
                            .worker = identity.id(),
                            .salt = Digest256{3},
                            .bad = says_bad};
  evidence.canary = CanaryProof{Encode(SignRequest(audit.orchestrator, audit.ledger, 5, reveal))};
  return evidence;
}

inline Bytes ReceiptOf(const TestAudit& audit, LeaseId lease, const Hash256& group,
                       std::optional<std::uint64_t> place = std::nullopt) {
  Envelope envelope{.version = kProtocolVersion,
                    .kind = static_cast<std::uint8_t>(MessageKind::kOutcomeRecord),
                    .run = audit.run->run_id,
                    .session = {1},
                    .sequence = 7};
  envelope.payload = Encode(NodeMessage{OutcomeRecord{.lease = lease,
                                                      .worker = audit.worker.id(),
                                                      .outcome = Outcome::kAccepted,
                                                      .group = group,
                                                      .tokens = 12,
                                                      .text = "",
                                                      .place = place}});
  return SealEnvelope(std::move(envelope), audit.orchestrator);
}

// A receipt for this group, and the windows that it can stand in, with two other groups in each.
inline Evidence OnReceipt(const TestAudit& audit, LeaseId lease, const Hash256& group) {
  Evidence evidence = audit.About(audit.orchestrator.id(), RejectReason::kDroppedGroup);
  evidence.policies = audit.policies;
  evidence.receipt = ReceiptProof{ReceiptOf(audit, lease, group), {}};
  const auto span = WindowsOf(audit.run->recipe, OutcomeRecord{.lease = lease}).value();
  for (std::uint64_t at = span.first.value; at <= span.last.value; ++at) {
    ShownWindow window{.window = {}, .groups = {Hash256{1, std::uint8_t(at)}, Hash256{2}}};
    window.window = SignClaim(WindowClaim{.run = audit.run->run_id,
                                          .version = PolicyVersion{at},
                                          .root = BatchRoot(window.groups),
                                          .items = 2},
                              audit.orchestrator);
    evidence.receipt->windows.push_back(std::move(window));
  }
  return evidence;
}

}  // namespace waggle
