// One tiny run for the zoo: two versions of its policy with a real step between them, a third with
// an adapter, and the weights that cheats use in their place. Everything is seeded: the same run on
// every machine.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "audit/evidence_check.h"
#include "audit/examine.h"
#include "crypto/identity.h"
#include "proofs/claims.h"
#include "roles/sample_group.h"
#include "rollout/encoding.h"
#include "run/base_model.h"

namespace waggle {

enum class ZooWeights : std::uint8_t {
  kVersion0,   // where the run starts
  kVersion1,   // after one step on its own groups: what leases ask for
  kAdapter,    // version 2: version 1 and an adapter
  kOtherSeed,  // another model of the same shape, as well trained
  kNearby,     // version 1, every tensor off by a thousandth of its size
  kInt8,       // version 1, linear layers in groups of int8
  kDraft,      // version 1 in four bits
};

// The smallest run that has every kind of tier; with `tiny`, a yet smaller one, for many audits.
Recipe ZooRecipe(bool tiny = false);
// The same with steps on as many groups as the zoo's first one is.
Recipe ZooStepRecipe();

class ZooRun final : public PublicInputs {
 public:
  // The starting model is made in `cache`, or found there. `ops` and `threads` change no bit.
  static Result<std::unique_ptr<ZooRun>> Open(const Recipe& recipe, std::filesystem::path cache,
                                              const Ops& ops, unsigned threads);

  ExaminedRun Examined() const;
  PolicyLookup Lookup(const Ops& ops);
  // Weights packed for an engine: canonical, or one of kernels/fast. Made once.
  Result<std::shared_ptr<const Model>> ModelOf(ZooWeights weights, const Ops& ops);
  static ZooWeights WeightsOf(PolicyVersion version);  // REQUIRES 0, 1 or 2

  // Lease `index` of the wave that begins with this version.
  Lease LeaseOf(std::uint32_t index, PolicyVersion version = PolicyVersion{1}) const;
  // What an honest worker with this engine hands in.
  Result<Group> Honest(const Lease& lease, const Ops& ops);
  // A trainer in the state that a version began with; 0 or 1.
  Result<std::unique_ptr<Trainer>> TrainerAt(PolicyVersion version, const TrainerConfig& config);
  Result<std::unique_ptr<Trainer>> TrainerAt(PolicyVersion version) {
    return TrainerAt(version, recipe_.trainer);
  }
  // The groups whose step made version 1.
  const std::vector<GroupRecord>& first_batch() const { return first_batch_; }

  // An accusation of the worker whose batch holds these groups; of whoever signed that step.
  Evidence AccuseWorker(const std::vector<Group>& groups, const std::vector<Lease>& leases,
                        std::uint32_t at, const Examination& found) const;
  Evidence AccuseTrainer(const StepClaim& claim, const std::vector<GroupRecord>& records) const;
  // As anybody decides who got the file.
  Decision DecideFile(const Evidence& evidence);

  const Recipe& recipe() const { return recipe_; }
  const TaskCodec& codec() const { return *codec_; }
  const Hash256& id() const { return id_; }
  const ModelConfig& config() const { return base_->model.config; }
  const NumericsConfig& numerics() const { return numerics_; }
  const Parameters& ParametersOf(ZooWeights weights) const { return parameters_.at(weights); }
  const Ops& ops() const { return ops_; }
  ThreadPool& pool() { return pool_; }
  const std::filesystem::path& cache() const { return cache_; }

  // PublicInputs
  Result<Bytes> Description(const Hash256& run, const Hash256& hash) override;
  Result<std::shared_ptr<const Model>> Policy(const RunSite& site, const Hash256& run,
                                              PolicyVersion version, const Hash256& root) override;
  Result<std::unique_ptr<Trainer>> State(const RunSite& site, const Hash256& run,
                                         PolicyVersion version, const Hash256& hash) override;

 private:
  ZooRun(const Recipe& recipe, std::filesystem::path cache, const Ops& ops, unsigned threads)
      : recipe_(recipe), cache_(std::move(cache)), ops_(ops), pool_(threads) {}
  Status Begin();
  Status FirstStep();
  void Publish(PolicyVersion version, const LoraParameters* lora);

  Recipe recipe_;
  std::filesystem::path cache_;
  const Ops& ops_;
  ThreadPool pool_;
  std::unique_ptr<Environment> environment_;
  std::optional<BaseModel> base_;
  NumericsConfig numerics_;
  Hash256 start_{}, id_{};
  Bytes description_;
  std::optional<TaskCodec> codec_;
  std::map<ZooWeights, Parameters> parameters_;
  std::optional<LoraParameters> adapter_;
  std::map<std::pair<ZooWeights, std::string_view>, std::shared_ptr<const Model>> models_;
  std::map<PolicyVersion, Hash256> roots_;
  std::vector<Signed<PolicyClaim>> policies_;
  std::vector<GroupRecord> first_batch_;
};

// The people of the zoo, who are the same in every run.
KeyPair ZooKey(std::string_view name);

}  // namespace waggle
