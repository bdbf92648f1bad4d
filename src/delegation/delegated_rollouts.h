// Delegated rollouts (delegation.h): responses of one policy to the client's prompts, sampled by
// the ordinary engine, at the cost of sampling. What is kept is what was sampled; activations exist
// again only when somebody asks for one token's.
#pragma once

#include <cstdio>
#include <functional>
#include <optional>

#include "base/thread_pool.h"
#include "delegation/delegation.h"
#include "delegation/record_file.h"
#include "delegation/rollout_recipe.h"

namespace waggle {

inline constexpr const char* kRolloutRecipeName = "rollouts.toml";

// The responses of a folder, in the order of the specs (response_codec.h). One caller.
class ResponseLog {
 public:
  // Opens or creates; what was torn off is forgotten. Blame::kMachine: damaged, or the disk.
  static Result<ResponseLog> Open(const std::filesystem::path& folder, std::uint32_t tokens_max);
  static Result<RolloutClaims> Read(const std::filesystem::path& folder, std::uint32_t tokens_max);

  const RolloutClaims& responses() const { return responses_; }
  Status Add(std::vector<TokenRecord> response);

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  std::filesystem::path path_;
  std::unique_ptr<std::FILE, Close> file_;
  RolloutClaims responses_;
};

struct SamplingWatch {
  std::function<void(std::uint64_t done, std::uint64_t all)> progress;  // sequences; may be empty
  std::function<bool()> wants_to_leave;  // asked at every step of the engine; may be empty
};

// Samples what the folder, which work.recipe claimed and nobody else fills, does not hold yet. A
// response is in the folder with its record (SequenceRecord, commitment.log) as soon as all before
// it are, so that a later call goes on. False: left before the end. REQUIRES CheckPolicy.
// Blame::kOperator: not enough memory for keys and values. Blame::kMachine: the disk, weights that
// give no numbers, a response that comes out otherwise than it did.
Result<bool> SampleRollouts(const RolloutWork& work, const std::filesystem::path& folder,
                            const Ops& ops, ThreadPool& pool, const SamplingWatch& watch);

// What `waggle answer` begins with: claims the folder for the recipe (or takes the folder's own, if
// `recipe` is empty) and samples what is missing. False: left before the end. Blame::kOperator:
// what the recipe cannot be, other weights than its policy's, a folder that another process fills.
Result<bool> PrepareRollouts(const std::filesystem::path& folder,
                             const std::filesystem::path& recipe,
                             const std::vector<std::string>& overrides, const Ops& ops,
                             ThreadPool& pool, const SamplingWatch& watch);

// A folder in which everything was sampled.
class SampledRun : public Answerer {
 public:
  // Blame::kOperator: no such folder, responses that are missing, other weights. Blame::kMachine:
  // responses that are not those that were committed to.
  static Result<std::unique_ptr<SampledRun>> Open(const std::filesystem::path& folder,
                                                  const Ops& ops, ThreadPool& pool);

  const RunProgram& program() const override { return work_.run; }
  RunCommit Commit() override;
  Bytes Responses(std::uint64_t first) const override;
  std::unique_ptr<DisputeParty> Side(const DisputeTerms& terms, std::uint8_t side) override;
  const RolloutWork& work() const { return work_; }
  const RolloutClaims& responses() const { return *responses_; }

 private:
  SampledRun(RolloutWork work, const Ops& ops, ThreadPool& pool)
      : work_(std::move(work)), ops_(ops), pool_(pool) {}
  const PolicyState* Policy();

  const RolloutWork work_;
  const Ops& ops_;
  ThreadPool& pool_;
  std::shared_ptr<const RolloutClaims> responses_;
  std::vector<Digest256> token_roots_;
  std::optional<PolicyState> policy_;  // from the first graph on
};

}  // namespace waggle
