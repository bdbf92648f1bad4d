#include "audit/steps/step_log.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <set>

#include "audit/steps/arrival_order.h"
#include "audit/steps/step_taking.h"
#include "base/files.h"
#include "proofs/claim_fields.h"
#include "run/influence.h"
#include "run/trainer_at.h"
#include "store/ledger_store.h"

namespace waggle {

template <class T, class V>
requires std::same_as<std::remove_const_t<T>, SignedStep>
void Fields(T& x, V&& v) {
  v(1, "step", x.step);
  v.Numbers(2, "leases", x.leases, std::size_t{1} << 20);
}

template <class T, class V>
requires std::same_as<std::remove_const_t<T>, SignedWindow>
void Fields(T& x, V&& v) {
  v(1, "window", x.window);
  v.Numbers(2, "leases", x.leases, std::size_t{1} << 20);
  v.Numbers(3, "groups", x.groups, std::size_t{1} << 20);
}

namespace {

constexpr std::size_t kLogBytesMax = std::size_t{1} << 34;
constexpr std::size_t kStepBytesMax = std::size_t{64} << 20;
constexpr std::size_t kDescriptionMax = kDescriptionBytesMax;

std::filesystem::path PathOf(const RunFolder& folder) { return folder.root() / "steps.log"; }
std::filesystem::path WindowsOf(const RunFolder& folder) { return folder.root() / "windows.log"; }

template <class T>
struct ReadLog {
  std::vector<T> records;
  std::size_t whole = 0;  // bytes of complete records
};

template <class T>
Result<ReadLog<T>> ReadAll(const std::filesystem::path& path) {
  ReadLog<T> read;
  if (!std::filesystem::exists(path)) return read;
  WG_ASSIGN(const std::string text, ReadFile(path, kLogBytesMax));
  const std::span bytes(reinterpret_cast<const std::uint8_t*>(text.data()), text.size());
  while (bytes.size() - read.whole >= 4) {
    const std::span<const std::uint8_t, 4> four(bytes.data() + read.whole, 4);
    const std::size_t length = WireLength(four);
    if (length > bytes.size() - read.whole - 4) break;
    auto record =
        WireDecode<T>(bytes.subspan(read.whole + 4, length), kStepBytesMax, read.whole + 4);
    if (!record) return Fail(Blame::kMachine, "{}: {}", path.string(), record.error().what);
    read.records.push_back(std::move(*record));
    read.whole += 4 + length;
  }
  return read;
}

// For appending, after what is whole.
Result<std::FILE*> OpenLog(const std::filesystem::path& path, std::size_t whole) {
  std::error_code error;
  if (std::filesystem::exists(path)) std::filesystem::resize_file(path, whole, error);
  std::FILE* file = std::fopen(path.c_str(), "a");
  if (file == nullptr)
    return Fail(Blame::kMachine, "cannot write {}: {}", path.string(), std::strerror(errno));
  return file;
}

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

// Windows against batches and against the store: from the first step that has one, groups in the
// order in which they were accepted, none left out and none twice; and no batch trains on a group
// that no window has named. Empty: they hold.
Result<std::string> LeftOut(const std::vector<SignedStep>& steps, const NodeId& key,
                            RunStore& store, ArrivalOrder order) {
  std::uint64_t at = 0;
  std::set<LeaseId> named;
  const bool all = !steps.empty() && steps.front().window;  // else a resumed run of older programs
  for (const SignedStep& step : steps) {
    if (!step.window) continue;
    const std::uint64_t version = step.step.claim.version.value;
    if (!step.window->shown() || !WindowHolds(step, key))
      return fmt::format("the window of step {} is not signed", version);
    WG_ASSIGN(const auto records, store.Arrived(at, step.window->groups.size()));
    for (std::size_t i = 0; i < step.window->groups.size(); ++i) {
      if (i >= records.size() || records[i].lease.id != step.window->leases[i] ||
          GroupHash(records[i].group) != step.window->groups[i]) {
        return fmt::format("accepted group {} is not in the window of step {}: {}", at + i, version,
                           i < records.size() ? LeaseName(records[i].lease.id) : "none came");
      }
      named.insert(step.window->leases[i]);
    }
    if (const auto lie = order.Note(step, key)) return lie->why;
    at += step.window->groups.size();
    for (const LeaseId lease : step.leases) {
      if (all && !named.contains(lease))
        return fmt::format("step {} trained on lease {}, which no window names", version,
                           LeaseName(lease));
    }
  }
  return std::string();
}

}  // namespace

bool WindowHolds(const SignedStep& step, const NodeId& trainer) {
  if (!step.window) return true;
  const SignedWindow& window = *step.window;
  const WindowClaim& claim = window.window.claim;
  if (claim.run != step.step.claim.run || claim.version != step.step.claim.version ||
      claim.items != window.leases.size() || !ClaimHolds(window.window, trainer) ||
      (claim.order && claim.order->leases != LeasesHash(window.leases)))
    return false;
  if (!window.shown()) return window.groups.empty();
  return claim.root == (window.groups.empty() ? Hash256{} : BatchRoot(window.groups));
}

Result<std::vector<GroupRecord>> RecordsOf(RunStore& store, std::span<const LeaseId> leases) {
  std::vector<GroupRecord> records;
  for (const LeaseId lease : leases) {
    WG_ASSIGN(auto record, store.GroupOf(lease));
    if (!record)
      return Fail(Blame::kMachine, "the group of lease {} is not in the run's store",
                  LeaseName(lease));
    records.push_back(std::move(*record));
  }
  return records;
}

std::vector<LeaseId> LeasesOf(const std::vector<GroupRecord>& records) {
  std::vector<LeaseId> leases;
  for (const GroupRecord& record : records) leases.push_back(record.lease.id);
  return leases;
}

Result<std::unique_ptr<StepLog>> StepLog::Open(const RunFolder& folder, bool ordered) {
  WG_ASSIGN(auto read, ReadAll<SignedStep>(PathOf(folder)));
  WG_ASSIGN(auto windows, ReadAll<SignedWindow>(WindowsOf(folder)));
  auto log = std::make_unique<StepLog>();
  log->ordered_ = ordered;
  log->steps_ = std::move(read.records);
  WG_ASSIGN(std::FILE * file, OpenLog(PathOf(folder), read.whole));
  log->file_.reset(file);
  WG_ASSIGN(file, OpenLog(WindowsOf(folder), windows.whole));
  log->windows_file_.reset(file);
  for (SignedWindow& window : windows.records) {
    log->windowed_ += window.groups.size();
    const PolicyVersion version = window.window.claim.version;
    if (version.value < log->steps_.size()) {
      log->steps_[version.value].window = std::move(window);
    } else {
      log->windows_.insert_or_assign(version, std::move(window));
    }
  }
  return log;
}

Result<std::vector<SignedStep>> StepLog::Read(const RunFolder& folder) {
  WG_ASSIGN(auto read, ReadAll<SignedStep>(PathOf(folder)));
  WG_ASSIGN(auto windows, ReadAll<SignedWindow>(WindowsOf(folder)));
  for (SignedWindow& window : windows.records) {
    const std::uint64_t at = window.window.claim.version.value;
    if (at < read.records.size()) read.records[at].window = std::move(window);
  }
  return std::move(read.records);
}

// What is told is on disk: a window that was signed twice, over different groups, would be two.
Status StepLog::Append(const File& file, const Bytes& record) const {
  std::array<std::uint8_t, 4> length{};
  for (int i = 0; i < 4; ++i) length[i] = static_cast<std::uint8_t>(record.size() >> (8 * i));
  if (std::fwrite(length.data(), 1, 4, file.get()) != 4 ||
      std::fwrite(record.data(), 1, record.size(), file.get()) != record.size() ||
      std::fflush(file.get()) != 0 || ::fdatasync(::fileno(file.get())) != 0)
    return Fail(Blame::kMachine, "cannot write the log of steps: {}", std::strerror(errno));
  return {};
}

// On disk before the step: a process that dies between the two signs the same window again.
Result<std::optional<SignedWindow>> StepLog::WindowOf(const Signer& trainer, const StepClaim& claim,
                                                      const Accepted& accepted) {
  if (const auto kept = windows_.find(claim.version); kept != windows_.end()) {
    auto window = std::optional(std::move(kept->second));
    windows_.erase(kept);
    return window;
  }
  if (!accepted) return std::optional<SignedWindow>();
  WG_ASSIGN(const std::vector<GroupRecord> records, accepted(windowed_));
  SignedWindow window;
  for (const GroupRecord& record : records) {
    window.leases.push_back(record.lease.id);
    window.groups.push_back(GroupHash(record.group));
  }
  WindowClaim said{.run = claim.run,
                   .version = claim.version,
                   .items = static_cast<std::uint32_t>(records.size())};
  if (!records.empty()) said.root = BatchRoot(window.groups);
  if (ordered_) said.order = WindowOrder{windowed_, LeasesHash(window.leases)};
  window.window = SignClaim(said, trainer);
  WG_TRY(Append(windows_file_, WireEncode(window, kStepBytesMax)));
  windowed_ += records.size();
  return std::optional(std::move(window));
}

Result<SignedStep> StepLog::Add(const Signer& trainer, StepClaim claim, std::vector<LeaseId> leases,
                                const Accepted& accepted) {
  const std::uint64_t at = claim.version.value;
  if (ordered_) claim.leases = LeasesHash(leases);
  if (at > 0 && at <= steps_.size()) claim.previous = ClaimDigest(steps_[at - 1].step.claim);
  if (at < steps_.size()) {
    if (steps_[at].step.claim == claim) return steps_[at];
    return Fail(Blame::kMachine,
                "the step from version {} gives another state than it did before the run was "
                "resumed: this machine's arithmetic cannot be relied on",
                at);
  }
  SignedStep step{SignClaim(claim, trainer), std::move(leases), std::nullopt};
  WG_ASSIGN(step.window, WindowOf(trainer, claim, accepted));
  WG_TRY(Append(file_, WireEncode(step, kStepBytesMax)));
  steps_.push_back(step);
  return step;
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
  WG_ASSIGN(auto trainer, TrainerAt(*site, run, folder, PolicyVersion{checked.begun}, ops, pool));
  WG_ASSIGN(const NodeId key, TrainerOf(folder, run));
  StepTaking taking(*site, run, key, std::move(trainer),
                    [&](const SignedStep& step) { return RecordsOf(*store, step.leases); });
  Influence influence(run, d.recipe.orchestrator);
  WG_ASSIGN(checked.left_out,
            LeftOut(steps, key, *store, {ArrivalTermsOf(d.recipe.orchestrator), run}));
  for (std::uint64_t version = checked.begun; version < to; ++version) {
    WG_ASSIGN(StepRetaken taken, taking.Take(steps[version]));
    if (taken.why.empty()) {
      WG_ASSIGN(taken.why, influence.WhyOver(steps[version].leases, *store));
    }
    if (!taken.why.empty()) {
      checked.why = std::move(taken.why);
      checked.wrong = steps[version];
      return checked;
    }
    ++(version < range.from ? checked.passed : checked.steps);
    if (progress) progress(version + 1);
  }
  return checked;
}

}  // namespace waggle
