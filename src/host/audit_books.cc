#include "host/audit_books.h"

#include "audit/canary_maker.h"
#include "audit/evidence_file.h"
#include "base/files.h"
#include "base/hex.h"
#include "proofs/claims.h"

namespace waggle {

namespace {

namespace fs = std::filesystem;

constexpr std::size_t kWorkBytesMax = std::size_t{64} << 20;
constexpr std::uint64_t kRecordsMax = std::uint64_t{1} << 40;
constexpr std::size_t kModelsKept = 4;
constexpr std::size_t kWhyBytesMax = 4096;

std::string_view TextOf(const Bytes& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
std::span<const std::uint8_t> BytesOf(const std::string& text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

}  // namespace

AuditBooks::AuditBooks(RunParts& run, AuditSettings settings, std::unique_ptr<RunSite> site)
    : run_(run),
      settings_(std::move(settings)),
      host_(settings_.terms.orchestrator),
      site_(std::move(site)),
      pool_(run.pool.threads()),
      inputs_({run.folder.root()}, *run.options.ops, pool_) {}

Result<std::unique_ptr<AuditBooks>> AuditBooks::Open(RunParts& run, const NodeId& host,
                                                     const Bytes& description) {
  WG_ASSIGN(AuditSettings settings,
            AuditSettingsOf(run.recipe, run.run_id, host, Sha256(description)));
  WG_ASSIGN(auto site, MakeRunSite(description, run.run_id));
  std::unique_ptr<AuditBooks> books(new AuditBooks(run, std::move(settings), std::move(site)));
  std::error_code error;
  fs::create_directories(run.folder.audits() / "evidence", error);
  if (!error) fs::create_directories(run.folder.audits() / "out", error);
  if (error) return Fail(Blame::kMachine, "{}: {}", run.folder.audits().string(), error.message());
  WG_TRY(WriteFileAtomic(run.folder.root() / "description.bin", TextOf(description)));
  if (!run.recipe.trust.audits) return books;
  WG_TRY(books->ReadWork());
  WG_TRY(books->ReadCanaries());
  WG_TRY(books->ReadBanished());
  WG_ASSIGN(books->store_,
            LedgerStore::Open((run.folder.root() / "ledger.db").string(),
                              LedgerStore::Access::kWrite, HostGenesis(run.run_id, host)));
  WG_ASSIGN(books->ledger_, books->store_->Load());
  WG_ASSIGN(books->records_, books->store_->Read(1, kRecordsMax));
  return books;
}

// A batch whose entry never reached the ledger was not committed: its groups are free.
Status AuditBooks::ReadWork() {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(run_.folder.audits(), error)) {
    if (entry.path().extension() != ".batch") continue;
    WG_ASSIGN(const std::string text, ReadFile(entry.path(), kWorkBytesMax));
    auto work = WireDecode<SignedWork>(BytesOf(text), kWorkBytesMax);
    if (!work) return Fail(Blame::kMachine, "{}: {}", entry.path().string(), work.error().what);
    work_.push_back(std::move(*work));
  }
  return {};
}

AuditDesk AuditBooks::MakeDesk(const Signer& key) {
  const Ledger& ledger = ledger_->ledger();
  const LedgerRunState* state = ledger.FindRun(settings_.run);
  const auto there = [&](const BatchClaim& claim) {
    return ledger.BatchOf(settings_.run, claim.epoch, claim.worker) != nullptr;
  };
  std::erase_if(work_, [&](const SignedWork& work) {
    const bool open = state == nullptr || work.claim.epoch >= state->epoch;
    return open && !there(work.claim);
  });
  std::erase_if(canaries_, [&](const CanaryBatch& canary) {
    if (there(canary.work.claim)) return false;
    std::error_code ignored;  // settled, or never committed: nobody asks for it again
    fs::remove(CanaryFile(canary), ignored);
    return true;
  });
  AuditDesk desk(key, settings_, std::move(*ledger_), std::move(records_), std::move(work_),
                 std::move(canaries_));
  desk.Remember(std::move(banished_));
  return desk;
}

std::filesystem::path AuditBooks::CanaryFile(const CanaryBatch& canary) const {
  return run_.folder.audits() / fmt::format("{:08}.canary", canary.work.claim.epoch);
}

Status AuditBooks::ReadCanaries() {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(run_.folder.audits(), error)) {
    if (entry.path().extension() != ".canary") continue;
    WG_ASSIGN(const std::string text, ReadFile(entry.path(), kCanaryBytesMax));
    auto canary = DecodeCanary(BytesOf(text));
    if (!canary) return Fail(Blame::kMachine, "{}: {}", entry.path().string(), canary.error().what);
    canaries_.push_back(std::move(*canary));
  }
  return {};
}

Status AuditBooks::ReadBanished() {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(run_.folder.audits() / "out", error)) {
    const auto node = ParseNodeId(entry.path().filename().string());
    if (!node) continue;  // not ours
    WG_ASSIGN(banished_[*node], ReadFile(entry.path(), kWhyBytesMax));
  }
  return {};
}

Status AuditBooks::Keep(const Banish& banish) {
  const std::string_view why = std::string_view(banish.why).substr(0, kWhyBytesMax);
  return WriteFileAtomic(run_.folder.audits() / "out" / ToText(banish.node), why);
}

Status AuditBooks::Keep(const CanaryBatch& canary) {
  return WriteFileAtomic(CanaryFile(canary), TextOf(Encode(canary)), {.mode = 0600});
}

Result<CanaryItemMade> AuditBooks::Make(const MakeCanaryItem& make, RunStore& store) {
  WG_ASSIGN(const auto record, store.GroupOf(make.lease));
  CanaryItemMade made{.lease = make.lease};
  if (!record) return made;
  const CanaryLie lie = false_canaries ? CanaryLie::kNone : make.lie;
  made.record = MakeCanary(*record, lie, make.draw, [this](const GroupRecord& it) {
    return ExamineGroup(it.lease, it.group);
  });
  return made;
}

Status AuditBooks::Keep(std::span<const LogRecord> records) { return store_->Append(records); }

Status AuditBooks::Keep(const SignedWork& work) {
  const std::string name =
      fmt::format("{:08}-{}.batch", work.claim.epoch, ToHex(work.claim.worker.value).substr(0, 32));
  return WriteFileAtomic(run_.folder.audits() / name, TextOf(WireEncode(work, kWorkBytesMax)));
}

EvidenceDecided AuditBooks::Judge(const NodeId& from, const Bytes& bytes) {
  EvidenceDecided decided{.evidence = EvidenceHash(bytes), .accuser = from};
  const auto evidence = OpenEvidence(bytes);
  if (!evidence) {
    decided.text = evidence.error().what;
    return decided;
  }
  decided.accuser = evidence->accuser;
  decided.accused = evidence->accused;
  decided.reason = evidence->reason;
  if (evidence->group && evidence->run == run_.run_id)
    decided.batch = evidence->group->batch.claim.root;
  if (evidence->run != run_.run_id) {  // true or not, it is nobody's lie here
    decided.fault = true;
    decided.text = "it is about another run";
    return decided;
  }
  const Decision decision = Decide(*evidence, inputs_, pool_, host_);
  decided.text = decision.text;
  decided.proved = decision.kind == Decision::Kind::kProved;
  decided.fault = decision.kind == Decision::Kind::kFault;
  if (decided.proved) {
    const auto kept = KeepEvidenceFile(run_.folder.audits() / "evidence", bytes);
    if (!kept) decided.text += " (not kept: " + kept.error().what + ")";
  }
  return decided;
}

Result<const Model*> AuditBooks::ModelOf(PolicyVersion version) {
  if (const auto known = models_.find(version); known != models_.end()) return known->second.get();
  const auto root = roots_.find(version);
  if (root == roots_.end())
    return Fail(Blame::kMachine, "policy version {} was not published", version.value);
  WG_ASSIGN(auto model, inputs_.Policy(*site_, run_.run_id, version, root->second));
  if (models_.size() >= kModelsKept) models_.erase(models_.begin());
  return models_.emplace(version, std::move(model)).first->second.get();
}

Examination AuditBooks::ExamineWith(const Lease& lease, const Group& group,
                                    const GroupProbe* probe) {
  const ModelConfig& model = site_->description.model;
  const ExaminedRun examined{run_.run_id, site_->description.recipe, *site_->codec, model.vocab,
                             static_cast<std::uint32_t>(model.layers)};
  return Examine(
      examined, [this](PolicyVersion version) { return ModelOf(version); }, pool_, lease, group,
      probe);
}

Result<ItemJudged> AuditBooks::Judge(const JudgeItem& judge, RunStore& store) {
  std::optional<GroupRecord> record = judge.record;
  if (!record) {
    WG_ASSIGN(record, store.GroupOf(judge.lease));
  }
  if (!record)
    return ItemJudged{judge.dispute, judge.lease, Fault{"its group is not in the store"}};
  return ItemJudged{judge.dispute, judge.lease, ExamineGroup(record->lease, record->group)};
}

// What does not hold, or cannot be told, says nothing about who said it does.
Result<VerdictChecked> AuditBooks::Check(const CheckVerdict& check, RunStore& store) {
  VerdictChecked checked{.validator = check.validator};
  std::vector<Hash256> activations;
  for (const LeaseId lease : check.leases) {
    WG_ASSIGN(const auto record, store.GroupOf(lease));
    if (!record) return checked;
    const Group& group = record->group;
    const GroupProbe probe = ProbeOf(check.beacon, GroupHash(group), group,
                                     static_cast<std::uint32_t>(site_->description.model.layers));
    const Examination examination = ExamineWith(record->lease, group, &probe);
    if (std::holds_alternative<Fault>(examination.verdict)) return checked;
    if (std::holds_alternative<Reject>(examination.verdict)) {
      checked.wrong = true;
      checked.text = fmt::format("{} called good what does not hold: lease {}",
                                 ToText(check.validator), LeaseName(lease));
      return checked;
    }
    activations.push_back(examination.activation);
  }
  if (BatchActivation(activations) == check.activation) return checked;
  checked.wrong = true;
  checked.text = ToText(check.validator) +
                 " gave a verdict without looking: its activations are not the model's";
  return checked;
}

}  // namespace waggle
