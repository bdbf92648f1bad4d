#include "host/step_keeper.h"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "protocol/limits.h"

namespace waggle {
namespace {

constexpr std::size_t kAskedMax = 4096;                 // questions that wait
constexpr std::uint64_t kAll = std::uint64_t{1} << 40;  // more groups than any run has

bool IsTeachers(const StateFile& file) { return file.name.starts_with(kTeacherFile); }

StepShown NotShown(PolicyVersion version, std::string_view why) {
  return {.version = version, .begin = version, .state = std::nullopt, .text = ForWire(why)};
}

}  // namespace

class StepKeeper::PieceBlob final : public Blob {
 public:
  explicit PieceBlob(Piece piece) : piece_(std::move(piece)) {}
  std::uint64_t size() const override { return piece_.bytes.size(); }
  Status Read(std::uint64_t offset, std::span<std::byte> out) override {
    std::memcpy(out.data(), piece_.bytes.data() + offset, out.size());
    return {};
  }

 private:
  const Piece piece_;
};

Result<std::unique_ptr<StepKeeper>> StepKeeper::Open(RunParts& run, RunStore& store,
                                                     PolicyShelf& shelf, const Signer& key,
                                                     std::function<bool(LeaseId)> censors) {
  std::unique_ptr<StepKeeper> keeper(new StepKeeper(run, store, shelf, key, std::move(censors)));
  WG_ASSIGN(keeper->log_, StepLog::Open(run.folder, run.recipe.orchestrator.by_arrival()));
  for (const PolicyShelf::Manifests& one : shelf.Published())
    keeper->Published(one.version, one.update, one.snapshot);
  return keeper;
}

StepKeeper::~StepKeeper() = default;  // futures of std::async wait

void StepKeeper::Censor(TrainOn& batch) const {
  for (std::size_t i = batch.leases.size(); censors_ && i-- > 0;) {
    if (!censors_(batch.leases[i].id)) continue;
    batch.leases.erase(batch.leases.begin() + static_cast<std::ptrdiff_t>(i));
    batch.groups.erase(batch.groups.begin() + static_cast<std::ptrdiff_t>(i));
  }
}

Result<std::vector<GroupRecord>> StepKeeper::Accepted(std::uint64_t first) {
  if (!censors_) return store_.Arrived(first, kAll);
  WG_ASSIGN(auto records, store_.Arrived(0, kAll));
  std::erase_if(records, [&](const GroupRecord& record) { return censors_(record.lease.id); });
  records.erase(
      records.begin(),
      records.begin() + static_cast<std::ptrdiff_t>(std::min<std::size_t>(first, records.size())));
  return records;
}

Result<StepMade> StepKeeper::Sign(const Hash256& before, const Hash256& after,
                                  const std::vector<LeaseId>& batch) {
  WG_ASSIGN(const std::vector<GroupRecord> records, RecordsOf(store_, batch));
  WG_ASSIGN(SignedStep step,
            log_->Add(key_,
                      {.run = run_.run_id,
                       .version = run_.conduct->version(),
                       .before = before,
                       .after = after,
                       .batch = Sha256(EncodeRecords(records))},
                      batch, [&](std::uint64_t first) { return Accepted(first); }));
  return StepMade{std::move(step)};
}

void StepKeeper::Published(PolicyVersion version, const std::optional<Digest256>& update,
                           const std::optional<Digest256>& snapshot) {
  policies_.insert_or_assign(version, std::pair(update, snapshot));
}

void StepKeeper::Need(std::uint64_t steps_from, std::uint64_t policies_from) {
  run_.audited_from = steps_from;
  shelf_.Hold(PolicyVersion{policies_from});
  Forget(steps_from);
}

// What nobody may ask for any more is not offered any more.
void StepKeeper::Forget(std::uint64_t steps_from) {
  std::uint64_t state_from = 0;
  for (const auto& [version, state] : states_) {
    if (version <= steps_from) state_from = version;
  }
  std::erase_if(states_, [&](const auto& state) {
    return state.first < state_from && !state.second.under_way.valid();
  });
  const std::lock_guard lock(mutex_);
  std::erase_if(state_pieces_, [&](const auto& one) { return one.first < state_from; });
  std::erase_if(batch_pieces_, [&](const auto& one) {
    std::error_code gone;
    return one.first < state_from && std::filesystem::remove(BatchFile(one.first), gone);
  });
}

std::filesystem::path StepKeeper::BatchFile(std::uint64_t version) const {
  return run_.folder.audits() / fmt::format("step-{:08}.records", version);
}

// A question that waits for its answer is not asked again.
void StepKeeper::Ask(ShowForAudit ask) {
  const bool waits = std::ranges::any_of(asked_, [&](const ShowForAudit& other) {
    return other.node == ask.node && other.ask == ask.ask;
  });
  if (!waits && asked_.size() < kAskedMax) asked_.push_back(std::move(ask));
}

std::vector<AuditShown> StepKeeper::Work() {
  std::vector<AuditShown> shown;
  for (std::size_t n = asked_.size(); n > 0; --n) {
    ShowForAudit ask = std::move(asked_.front());
    asked_.pop_front();
    auto answer = Show(ask);
    if (!answer) {
      run_.telemetry->Say("not shown to a validator: " + answer.error().what);
      const auto* step = std::get_if<StepAsk>(&ask.ask);
      const PolicyVersion version = step == nullptr ? PolicyVersion{} : step->version;
      shown.push_back({ask.node, {NotShown(version, "it cannot be read here")}});
    } else if (*answer) {
      shown.push_back(std::move(**answer));
    } else {
      asked_.push_back(std::move(ask));  // later
    }
  }
  return shown;
}

Result<std::optional<AuditShown>> StepKeeper::Show(const ShowForAudit& ask) {
  if (const auto* step = std::get_if<StepAsk>(&ask.ask)) return ShowStep(ask.node, step->version);
  if (const auto* policy = std::get_if<PolicyAsk>(&ask.ask))
    return std::optional(ShowPolicy(ask.node, policy->version));
  return std::optional(AuditShown{ask.node, {}});
}

// From a snapshot on, one update after the other; the shelf keeps what unsettled epochs need.
AuditShown StepKeeper::ShowPolicy(const NodeId& node, PolicyVersion version) const {
  PolicyShown shown{.version = version, .manifests = {}};
  for (std::uint64_t at = version.value;; --at) {
    const auto found = policies_.find(PolicyVersion{at});
    if (found == policies_.end() || shown.manifests.size() == kProtocol.manifests_max) break;
    const auto& [update, snapshot] = found->second;
    if (snapshot) {
      shown.manifests.push_back(*snapshot);
      std::reverse(shown.manifests.begin(), shown.manifests.end());
      return {node, {std::move(shown)}};
    }
    if (!update || at == 0) break;
    shown.manifests.push_back(*update);
  }
  return {node, {PolicyShown{.version = version, .manifests = {}}}};
}

// The steps on the way are told first: whoever came late has not heard of them.
Result<std::optional<AuditShown>> StepKeeper::ShowStep(const NodeId& node, PolicyVersion version) {
  std::optional<std::uint64_t> begin;
  for (const std::uint64_t at : run_.folder.Checkpoints()) {
    if (at <= version.value) begin = at;
  }
  if (!begin || version.value >= steps().size()) {
    const auto text = fmt::format(
        "no state at or before it is left: {} checkpoints are kept at most", kAuditedStatesMax);
    return std::optional(AuditShown{node, {NotShown(version, text)}});
  }
  WG_ASSIGN(const bool ready, StateReady(*begin));
  if (!ready) return std::optional<AuditShown>();
  AuditShown shown{node, {}};
  for (std::uint64_t at = *begin; at <= version.value; ++at) {
    WG_TRY(OfferBatch(steps()[at]));
    shown.messages.emplace_back(MessageOf(steps()[at], false));
  }
  shown.messages.emplace_back(
      StepShown{version, PolicyVersion{*begin}, states_.at(*begin).listing, {}});
  return std::optional(std::move(shown));
}

Result<bool> StepKeeper::StateReady(std::uint64_t version) {
  State& state = states_[version];
  if (state.listing) return true;
  if (!state.under_way.valid()) {
    state.under_way = std::async(std::launch::async,
                                 [folder = run_.folder, run = run_.run_id, version,
                                  teacher = teacher_files_]() mutable -> Result<StateListing> {
                                   if (teacher.empty()) {
                                     WG_ASSIGN(teacher, ListTeacher(folder.teacher()));
                                   }
                                   return ListState(folder.checkpoint(version) / "trainer", run,
                                                    PolicyVersion{version}, std::move(teacher));
                                 });
    return false;
  }
  if (state.under_way.wait_for(std::chrono::seconds(0)) != std::future_status::ready) return false;
  WG_ASSIGN(const StateListing listing, state.under_way.get());
  if (teacher_files_.empty())
    std::ranges::copy_if(listing.files, std::back_inserter(teacher_files_), IsTeachers);
  WG_TRY(OfferState(version, listing));
  return true;
}

namespace {

struct Mapped {
  MappedFile file;
  std::span<const std::uint8_t> bytes() const {
    return {reinterpret_cast<const std::uint8_t*>(file.bytes().data()), file.bytes().size()};
  }
};

Result<std::shared_ptr<const Mapped>> Map(const std::filesystem::path& path) {
  WG_ASSIGN(MappedFile file, MappedFile::Open(path));
  return std::make_shared<const Mapped>(Mapped{std::move(file)});
}

}  // namespace

// Straight from the checkpoint's files; whoever reads goes on reading when they are pruned.
Status StepKeeper::OfferState(std::uint64_t version, const StateListing& listing) {
  Pieces pieces;
  for (const StateFile& file : listing.files) {
    const auto path = IsTeachers(file)
                          ? run_.folder.teacher() / file.name.substr(kTeacherFile.size())
                          : run_.folder.checkpoint(version) / "trainer" / file.name;
    WG_ASSIGN(const auto mapped, Map(path));
    const std::span bytes = mapped->bytes();
    if (bytes.size() != file.bytes)
      return Fail(Blame::kMachine, "{} of the checkpoint of version {} changed", file.name,
                  version);
    for (std::size_t i = 0; i < file.chunks.size(); ++i) {
      const std::size_t at = i * kStateChunkBytes;
      pieces[file.chunks[i]] = {mapped,
                                bytes.subspan(at, std::min(kStateChunkBytes, bytes.size() - at))};
    }
  }
  const auto encoded = std::make_shared<const Bytes>(Encode(listing));
  const Digest256 digest = Sha256(*encoded);
  pieces[digest] = {encoded, *encoded};
  states_.at(version).listing = digest;
  const std::lock_guard lock(mutex_);
  state_pieces_[version] = std::move(pieces);
  return {};
}

Status StepKeeper::OfferBatch(const SignedStep& step) {
  const std::uint64_t version = step.step.claim.version.value;
  {
    const std::lock_guard lock(mutex_);
    if (batch_pieces_.contains(version)) return {};
  }
  WG_ASSIGN(const std::vector<GroupRecord> records, RecordsOf(store_, step.leases));
  const Bytes bytes = EncodeRecords(records);
  WG_TRY(WriteFileAtomic(BatchFile(version),
                         {reinterpret_cast<const char*>(bytes.data()), bytes.size()}));
  WG_ASSIGN(const auto mapped, Map(BatchFile(version)));
  const std::lock_guard lock(mutex_);
  batch_pieces_[version][step.step.claim.batch] = {mapped, mapped->bytes()};
  return {};
}

Result<std::unique_ptr<Blob>> StepKeeper::Open(const Digest256& hash) {
  {
    const std::lock_guard lock(mutex_);
    for (const auto* offered : {&state_pieces_, &batch_pieces_}) {
      for (const auto& [version, pieces] : *offered) {
        const auto found = pieces.find(hash);
        if (found != pieces.end())
          return std::unique_ptr<Blob>(std::make_unique<PieceBlob>(found->second));
      }
    }
  }
  return shelf_.Open(hash);
}

}  // namespace waggle
