#include "delegation/delegated_rollouts.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <deque>

#include "base/check.h"
#include "base/files.h"
#include "delegation/response_codec.h"
#include "engine/engine.h"
#include "run/run_folder.h"

namespace waggle {
namespace {

namespace fs = std::filesystem;

constexpr const char* kLogName = "responses.log";
constexpr const char* kCommitmentName = "commitment.log";
constexpr std::size_t kLogBytesMax = std::size_t{1} << 34;
constexpr std::size_t kRecordBytes = 2 + 4 + 32;
constexpr std::size_t kResponsesBytes = std::size_t{1} << 20;  // of one frame, about
constexpr std::size_t kAheadSequences = 512;                   // that an engine may have under way
constexpr std::uint64_t kSayEvery = 256;                       // responses

Result<DecodedResponses> ReadLog(const fs::path& path, std::uint32_t tokens_max) {
  if (!fs::exists(path)) return DecodedResponses{};
  WG_ASSIGN(const std::string text, ReadFile(path, kLogBytesMax));
  auto read = DecodeResponses({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()},
                              tokens_max);
  if (!read)
    return Fail(Blame::kMachine, "{} is damaged: remove it to sample anew ({})", path.string(),
                read.error().what);
  return std::move(*read);
}

// Responses from `first` on, in the order of the specs however the engine ends them: some prompts
// ahead of the first that is not whole are under way.
class Sampling {
 public:
  Sampling(const RolloutWork& work, std::uint64_t first)
      : work_(work), next_(first), submitted_(first) {}

  // One step of the engine.
  Status Step(Engine& engine) {
    while (submitted_ < work_.specs.size() && under_way_.size() < kAheadSequences)
      WG_TRY(SubmitPrompt(engine));
    for (const TokenEvent& event : engine.Step()) {
      if (event.finish == FinishReason::kAborted)
        return Fail(Blame::kMachine,
                    "the policy gave numbers that are none (NaN or infinity): its weights, or this "
                    "machine's memory, are broken");
      // Specs number samples through the whole program.
      UnderWay& at = under_way_[event.sample - next_];
      at.response.push_back({static_cast<std::uint32_t>(at.response.size()), event.token,
                             std::bit_cast<std::uint32_t>(event.logp)});
      at.whole = event.finish.has_value();
    }
    return {};
  }
  // The next response, once it is whole.
  std::optional<std::vector<TokenRecord>> Take() {
    if (under_way_.empty() || !under_way_.front().whole) return std::nullopt;
    std::vector<TokenRecord> response = std::move(under_way_.front().response);
    under_way_.pop_front();
    ++next_;
    return response;
  }

 private:
  struct UnderWay {
    std::vector<TokenRecord> response;
    bool whole = false;
  };
  Status SubmitPrompt(Engine& engine) {
    const std::uint32_t group = work_.run.group;
    const SequenceSpec& spec = work_.specs[submitted_];
    Check(spec.sample == submitted_, "the sample of a spec is its place");
    const auto count = static_cast<std::uint32_t>(group - submitted_ % group);
    auto request = engine.Submit(spec.prompt, count, OptionsOf(spec), spec.sample);
    if (!request) return Fail(Blame::kOperator, "{}", request.error().what);
    submitted_ += count;
    under_way_.resize(under_way_.size() + count);
    return {};
  }

  const RolloutWork& work_;
  std::uint64_t next_, submitted_;
  std::deque<UnderWay> under_way_;  // sequences [next_, submitted_)
};

SequenceRecord RecordOf(const RunProgram& run, std::uint64_t sequence,
                        std::span<const TokenRecord> response) {
  return {static_cast<std::uint32_t>(sequence % run.group), TokenRoot(response, run.tokens_max)};
}

Result<std::unique_ptr<Engine>> MakeEngine(const RolloutWork& work, const TensorSource& policy,
                                           const Ops& ops, ThreadPool& pool) {
  WG_ASSIGN(auto model,
            Model::Create(work.model.config, work.model.numerics, policy, nullptr, ops));
  EngineConfig config;
  config.kv_bytes = work.recipe.sampling.kv_bytes;
  config.step_tokens = work.recipe.sampling.step_tokens;
  config.sequences_max = work.recipe.sampling.sequences_max;
  return std::make_unique<Engine>(std::move(model), PolicyVersion{0}, config, pool);
}

}  // namespace

Result<RolloutClaims> ResponseLog::Read(const fs::path& folder, std::uint32_t tokens_max) {
  WG_ASSIGN(DecodedResponses read, ReadLog(folder / kLogName, tokens_max));
  return std::move(read.responses);
}

Result<ResponseLog> ResponseLog::Open(const fs::path& folder, std::uint32_t tokens_max) {
  ResponseLog log;
  log.path_ = folder / kLogName;
  WG_ASSIGN(DecodedResponses read, ReadLog(log.path_, tokens_max));
  log.responses_ = std::move(read.responses);
  std::error_code error;
  if (fs::exists(log.path_)) fs::resize_file(log.path_, read.bytes, error);
  log.file_.reset(std::fopen(log.path_.c_str(), "a"));
  if (error || log.file_ == nullptr)
    return Fail(Blame::kMachine, "cannot write {}: {}", log.path_.string(),
                error ? error.message() : std::strerror(errno));
  return log;
}

Status ResponseLog::Add(std::vector<TokenRecord> response) {
  Bytes bytes;
  AppendResponse(response, bytes);
  std::FILE* file = file_.get();
  if (std::fwrite(bytes.data(), 1, bytes.size(), file) != bytes.size() || std::fflush(file) != 0)
    return Fail(Blame::kMachine, "cannot write {}: {}", path_.string(), std::strerror(errno));
  responses_.push_back(std::move(response));
  return {};
}

Result<bool> SampleRollouts(const RolloutWork& work, const fs::path& folder, const Ops& ops,
                            ThreadPool& pool, const SamplingWatch& watch) {
  const std::uint64_t all = work.specs.size();
  WG_ASSIGN(ResponseLog log, ResponseLog::Open(folder, work.run.tokens_max));
  WG_ASSIGN(RecordFile commitment, RecordFile::Open(folder / kCommitmentName, kRecordBytes));
  const auto commit = [&](std::uint64_t sequence) {
    return commitment.Put(sequence, Encode(RecordOf(work.run, sequence, log.responses()[sequence])),
                          "response");
  };
  // One that is there without its record: the process ended between the two.
  for (std::uint64_t s = 0; s < log.responses().size(); ++s) WG_TRY(commit(s));
  if (log.responses().size() >= all) return true;
  WG_ASSIGN(const auto policy, OpenPolicy(work.recipe));
  WG_ASSIGN(const auto engine, MakeEngine(work, *policy, ops, pool));
  Sampling sampling(work, log.responses().size());
  std::uint64_t said = log.responses().size();
  while (log.responses().size() < all) {
    if (watch.wants_to_leave && watch.wants_to_leave()) return false;
    WG_TRY(sampling.Step(*engine));
    while (auto response = sampling.Take()) {
      WG_TRY(log.Add(std::move(*response)));
      WG_TRY(commit(log.responses().size() - 1));
    }
    const std::uint64_t done = log.responses().size();
    if (!watch.progress || (done < all && done - said < kSayEvery)) continue;
    watch.progress(said = done, all);
  }
  return true;
}

Result<bool> PrepareRollouts(const fs::path& folder, const fs::path& recipe,
                             const std::vector<std::string>& overrides, const Ops& ops,
                             ThreadPool& pool, const SamplingWatch& watch) {
  WG_ASSIGN(RolloutRecipe read,
            ReadRolloutRecipe(recipe.empty() ? folder / kRolloutRecipeName : RecipeFile(recipe)));
  WG_TRY(OverrideAll(read, overrides));
  WG_ASSIGN(const RolloutWork work, OpenRolloutWork(std::move(read)));
  WG_ASSIGN(const auto records, RecordFile::Read(folder / kCommitmentName, kRecordBytes));
  if (records.size() < work.specs.size()) {  // SampledRun::Open looks at the policy else
    WG_ASSIGN(const auto policy, OpenPolicy(work.recipe));
    WG_TRY(CheckPolicy(work, *policy));
  }
  RolloutRecipe claimed = work.recipe;
  WG_TRY(ClaimFolder(folder, kRolloutRecipeName, WriteToml(claimed)));
  WG_ASSIGN(const FolderLock alone, RunFolder(folder).Lock());
  return SampleRollouts(work, folder, ops, pool, watch);
}

Result<std::unique_ptr<SampledRun>> SampledRun::Open(const fs::path& folder, const Ops& ops,
                                                     ThreadPool& pool) {
  WG_ASSIGN(RolloutRecipe recipe, ReadRolloutRecipe(folder / kRolloutRecipeName));
  WG_ASSIGN(RolloutWork work, OpenRolloutWork(std::move(recipe)));
  std::unique_ptr<SampledRun> run(new SampledRun(std::move(work), ops, pool));
  WG_ASSIGN(const auto policy, OpenPolicy(run->work_.recipe));
  WG_TRY(CheckPolicy(run->work_, *policy));
  WG_ASSIGN(auto responses, ResponseLog::Read(folder, run->work_.run.tokens_max));
  WG_ASSIGN(const auto records, RecordFile::Read(folder / kCommitmentName, kRecordBytes));
  const std::size_t all = run->work_.specs.size();
  if (responses.size() < all || records.size() < all)
    return Fail(Blame::kOperator,
                "{} has {} of its {} responses: `waggle answer {}` samples the others",
                folder.string(), std::min(responses.size(), records.size()), all, folder.string());
  responses.resize(all);
  for (std::uint64_t s = 0; s < all; ++s) {
    const SequenceRecord record = RecordOf(run->work_.run, s, responses[s]);
    if (Encode(record) != records[s])
      return Fail(Blame::kMachine,
                  "response {} is not the one that was committed to: the disk of {} cannot be "
                  "relied on",
                  s, folder.string());
    run->token_roots_.push_back(record.tokens);
  }
  run->responses_ = std::make_shared<const RolloutClaims>(std::move(responses));
  return run;
}

RunCommit SampledRun::Commit() {
  return {BatchTree(work_.run, token_roots_).root(), ProgramHash(work_.run)};
}

Bytes SampledRun::Responses(std::uint64_t first) const {
  return PackResponses(*responses_, first, kResponsesBytes);
}

// Null if the weights went away since: then nothing can be said about them.
const PolicyState* SampledRun::Policy() {
  if (policy_) return &*policy_;
  const auto policy = OpenPolicy(work_.recipe);
  if (!policy) return nullptr;
  policy_ = PolicyStateOf(StateOf(work_.model.config, work_.model.numerics), **policy);
  if (policy_->root != work_.run.state) policy_.reset();
  return policy_ ? &*policy_ : nullptr;
}

std::unique_ptr<DisputeParty> SampledRun::Side(const DisputeTerms& terms, std::uint8_t side) {
  return std::make_unique<RolloutParty>(terms, side,
                                        RolloutParty::Setting{.policy = [this] { return Policy(); },
                                                              .specs = work_.specs,
                                                              .ops = ops_,
                                                              .pool = pool_,
                                                              .token_roots = token_roots_},
                                        responses_);
}

}  // namespace waggle
