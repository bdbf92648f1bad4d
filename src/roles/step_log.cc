#include "roles/step_log.h"

#include <cerrno>
#include <cstring>

#include "base/files.h"
#include "proofs/claim_fields.h"
#include "roles/influence.h"
#include "roles/step_check.h"
#include "store/ledger_store.h"

namespace waggle {

template <class T, class V>
requires std::same_as<std::remove_const_t<T>, SignedStep>
void Fields(T& x, V&& v) {
  v(1, "step", x.step);
  v.Numbers(2, "leases", x.leases, std::size_t{1} << 20);
}

namespace {

constexpr std::size_t kLogBytesMax = std::size_t{1} << 34;
constexpr std::size_t kStepBytesMax = std::size_t{16} << 20;
constexpr std::size_t kDescriptionMax = kDescriptionBytesMax;

std::filesystem::path PathOf(const RunFolder& folder) { return folder.root() / "steps.log"; }

struct ReadSteps {
  std::vector<SignedStep> steps;
  std::size_t whole = 0;  // bytes of complete records
};

Result<ReadSteps> ReadAll(const std::filesystem::path& path) {
  ReadSteps read;
  if (!std::filesystem::exists(path)) return read;
  WG_ASSIGN(const std::string text, ReadFile(path, kLogBytesMax));
  const std::span bytes(reinterpret_cast<const std::uint8_t*>(text.data()), text.size());
  while (bytes.size() - read.whole >= 4) {
    const std::size_t length = WireLength(bytes.subspan(read.whole).first<4>());
    if (length > bytes.size() - read.whole - 4) break;
    auto step = WireDecode<SignedStep>(bytes.subspan(read.whole + 4, length), kStepBytesMax,
                                       read.whole + 4);
    if (!step) return Fail(Blame::kMachine, "{}: {}", path.string(), step.error().what);
    read.steps.push_back(std::move(*step));
    read.whole += 4 + length;
  }
  return read;
}

// Steps of a run, one after the other.
class Checking {
 public:
  Checking(const RunSite& site, RunStore& store, const NodeId& trainer_key,
           std::unique_ptr<Trainer> trainer, const Hash256& run)
      : site_(site),
        store_(store),
        key_(trainer_key),
        trainer_(std::move(trainer)),
        influence_(run, site.description.recipe.orchestrator) {}

  // Empty: it holds.
  Result<std::string> Take(const SignedStep& step, const Hash256& run) {
    const StepClaim& claim = step.step.claim;
    if (claim.run != run || !ClaimHolds(step.step, key_)) return std::string("it is not signed");
    if (trainer_->StateHash() != claim.before)
      return std::string("it begins from another state than the step before it left");
    std::vector<GroupRecord> records;
    for (const LeaseId lease : step.leases) {
      WG_ASSIGN(auto record, store_.GroupOf(lease));
      if (!record)
        return Fail(Blame::kMachine, "the group of lease {} is not in the run's store",
                    LeaseName(lease));
      records.push_back(std::move(*record));
    }
    if (Sha256(EncodeRecords(records)) != claim.batch)
      return std::string("its batch is not made of the groups that the run accepted");
    WG_ASSIGN(std::string over, influence_.WhyOver(step.leases, store_));
    if (!over.empty()) return over;
    const RunDescription& d = site_.description;
    WG_ASSIGN(const Hash256 after,
              StepAgain(*trainer_, d.recipe, records, claim.version, *site_.codec, d.model.vocab));
    return after == claim.after ? std::string()
                                : std::string("its batch gives another state than it says");
  }

 private:
  const RunSite& site_;
  RunStore& store_;
  const NodeId key_;
  std::unique_ptr<Trainer> trainer_;
  Influence influence_;
};

// As the run's terms name it.
Result<NodeId> TrainerOf(const RunFolder& folder, const Hash256& run) {
  WG_ASSIGN(const auto store, LedgerStore::Open((folder.root() / "ledger.db").string(),
                                                LedgerStore::Access::kRead, std::nullopt));
  WG_ASSIGN(const LedgerReplay replay, store->Load());
  const LedgerRunState* state = replay.ledger().FindRun(LedgerRun{run});
  if (state == nullptr)
    return Fail(Blame::kOperator, "{} holds the ledger of another run", folder.root().string());
  return state->terms.trainer;
}

}  // namespace

Result<std::unique_ptr<StepLog>> StepLog::Open(const RunFolder& folder) {
  WG_ASSIGN(ReadSteps read, ReadAll(PathOf(folder)));
  auto log = std::make_unique<StepLog>();
  log->steps_ = std::move(read.steps);
  std::error_code error;
  if (std::filesystem::exists(PathOf(folder)))
    std::filesystem::resize_file(PathOf(folder), read.whole, error);
  log->file_.reset(std::fopen(PathOf(folder).c_str(), "a"));
  if (log->file_ == nullptr)
    return Fail(Blame::kMachine, "cannot write {}: {}", PathOf(folder).string(),
                std::strerror(errno));
  return log;
}

Result<std::vector<SignedStep>> StepLog::Read(const RunFolder& folder) {
  WG_ASSIGN(ReadSteps read, ReadAll(PathOf(folder)));
  return std::move(read.steps);
}

Status StepLog::Add(const Signer& trainer, StepClaim claim, std::vector<LeaseId> leases) {
  const std::uint64_t at = claim.version.value;
  if (at > 0 && at <= steps_.size()) claim.previous = ClaimDigest(steps_[at - 1].step.claim);
  if (at < steps_.size()) {
    if (steps_[at].step.claim == claim) return {};
    return Fail(Blame::kMachine,
                "the step from version {} gives another state than it did before the run was "
                "resumed: this machine's arithmetic cannot be relied on",
                at);
  }
  SignedStep step{SignClaim(claim, trainer), std::move(leases)};
  const Bytes bytes = WireEncode(step, kStepBytesMax);
  std::array<std::uint8_t, 4> length{};
  for (int i = 0; i < 4; ++i) length[i] = static_cast<std::uint8_t>(bytes.size() >> (8 * i));
  std::FILE* file = file_.get();
  if (std::fwrite(length.data(), 1, 4, file) != 4 ||
      std::fwrite(bytes.data(), 1, bytes.size(), file) != bytes.size() || std::fflush(file) != 0)
    return Fail(Blame::kMachine, "cannot write the log of steps: {}", std::strerror(errno));
  steps_.push_back(std::move(step));
  return {};
}

Result<StepsChecked> CheckSteps(const RunFolder& folder, const StepRange& range, const Ops& ops,
                                ThreadPool& pool,
                                const std::function<void(std::uint64_t version)>& progress) {
  WG_ASSIGN(const std::vector<SignedStep> steps, StepLog::Read(folder));
  const std::uint64_t to = std::min<std::uint64_t>(range.to, steps.size());
  if (range.from >= to)
    return Fail(Blame::kOperator, "{} has {} signed steps: none from {} to {}",
                folder.root().string(), steps.size(), range.from, to);
  StepsChecked checked;
  bool found = false;
  for (const std::uint64_t version : folder.Checkpoints()) {
    if (version <= range.from) checked.begun = version, found = true;
  }
  if (!found)
    return Fail(Blame::kOperator,
                "{} has no checkpoint at or before version {}; checkpoints_kept of the recipe says "
                "how many stay",
                folder.root().string(), range.from);
  WG_ASSIGN(const Hash256 run, folder.RunId());
  WG_ASSIGN(const std::string text, ReadFile(folder.root() / "description.bin", kDescriptionMax));
  WG_ASSIGN(const auto site,
            MakeRunSite({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()}, run));
  WG_ASSIGN(const std::string place, folder.StorePlace());
  WG_ASSIGN(const auto store, RunStore::Open(place, run, RunStore::Access::kRead));
  const RunDescription& d = site->description;
  WG_ASSIGN(auto trainer,
            Trainer::LoadCheckpoint(folder.checkpoint(checked.begun) / "trainer", d.model,
                                    site->numerics, d.recipe.trainer, ops, pool));
  trainer->SetRunId(run);
  WG_ASSIGN(const NodeId key, TrainerOf(folder, run));
  Checking checking(*site, *store, key, std::move(trainer), run);
  for (std::uint64_t version = checked.begun; version < to; ++version) {
    WG_ASSIGN(checked.why, checking.Take(steps[version], run));
    if (!checked.why.empty()) {
      checked.wrong = steps[version];
      return checked;
    }
    ++(version < range.from ? checked.passed : checked.steps);
    if (progress) progress(version + 1);
  }
  return checked;
}

}  // namespace waggle
