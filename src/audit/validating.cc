#include "audit/validating.h"

#include <algorithm>
#include <iterator>

#include "audit/evidence_file.h"
#include "base/files.h"
#include "base/folders.h"

namespace waggle {
namespace {

constexpr std::size_t kModelsKept = 4;
constexpr const char* kRecordsFile = "records.bin";

// What a validator knew of nodes before it died, or nothing: records that cannot be read accuse
// nobody, they begin anew.
NodeRecords ReadRecords(const std::filesystem::path& path,
                        const std::function<void(const std::string&)>& say) {
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) return {};
  const auto read = [&]() -> Result<NodeRecords> {
    WG_ASSIGN(const std::string text, ReadFile(path, kRecordBytesMax));
    return NodeRecords::Decode({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
  };
  auto records = read();
  if (!records) say(path.string() + " begins anew: " + records.error().what);
  return records ? std::move(*records) : NodeRecords{};
}

ValidatorSettings SettingsOf(const ValidateOptions& options, const Hash256& run,
                             const RunSite& site, Bytes description, NodeRecords records,
                             std::function<bool(std::uint64_t)> holds_steps) {
  ValidatorSettings settings{.run = run,
                             .stake = options.stake,
                             .layers = static_cast<std::uint32_t>(site.description.model.layers),
                             .description_hash = Sha256(description)};
  settings.description = std::move(description);
  settings.holds_steps = std::move(holds_steps);
  settings.records = std::move(records);
  return settings;
}

}  // namespace

Validating::Validating(const ValidateOptions& options, const Signer& key, const Hash256& run,
                       const RunSite& site, Bytes description, const Places& places, const Ops& ops,
                       ThreadPool& pool, Clock& clock, std::function<void(const std::string&)> say)
    : options_(options),
      id_(key.id()),
      run_(run),
      site_(site),
      pool_(pool),
      say_(say),
      clock_(clock),
      records_(places.mirror / kRecordsFile),
      inputs_({places.policies, places.mirror}, ops, pool),
      steps_(
          {places.mirror, options.evidence_directory, places.mirrors, places.seed}, key, run, site,
          description, [this](PolicyVersion version) { return core_.PolicyOf(version); }, ops, pool,
          clock, say),
      core_(key, SettingsOf(options, run, site, std::move(description), ReadRecords(records_, say),
                            [this](std::uint64_t epoch) { return steps_.Holds(epoch); })),
      again_(places.mirror / "items") {}

// Every message is heard by both; what the ledger has come to is told to the steps' side.
Result<std::vector<NodeMessage>> Validating::Step(const ValidatorEvent& event) {
  std::vector<NodeMessage> out;
  if (const auto* link = std::get_if<HostAnswered>(&event)) {
    seals_.LinkUp(clock_.UnixSeconds());
    WG_TRY(TellSteps(StepLinkUp{link->host}, out));
  }
  if (const auto* said = std::get_if<HostSaid>(&event))
    WG_TRY(TellSteps(StepHeard{said->message}, out));
  for (ValidatorEffect& effect : core_.Step(event)) WG_TRY(Perform(std::move(effect), out));
  const Ledger* ledger = core_.ledger();
  const LedgerRunState* state = ledger == nullptr ? nullptr : ledger->FindRun(LedgerRun{run_});
  if (state != nullptr)
    for (const std::string& line : seals_.Look(*state, clock_.UnixSeconds())) say_(line);
  WG_TRY(TellSteps(StepLedger{state, core_.joined(), id_}, out));
  return out;
}

Status Validating::TellSteps(const StepAuditEvent& event, std::vector<NodeMessage>& out) {
  WG_ASSIGN(std::vector<NodeMessage> said, steps_.Step(event));
  std::ranges::move(said, std::back_inserter(out));
  return {};
}

Validating::Costs Validating::costs() const {
  return {core_.counts().tokens, steps_.tokens(), seconds_, cpu_seconds_};
}

Status Validating::Perform(ValidatorEffect effect, std::vector<NodeMessage>& out) {
  if (auto* say = std::get_if<SayToHost>(&effect)) {
    const bool evidence = std::holds_alternative<EvidenceSubmission>(say->message);
    if (!evidence || !options_.hides_evidence) out.push_back(std::move(say->message));
  } else if (const auto* item = std::get_if<KeepItem>(&effect)) {
    return again_.Keep(item->item);
  } else if (const auto* drop = std::get_if<DropItems>(&effect)) {
    again_.Drop(drop->before);
  } else if (const auto* look = std::get_if<LookAgain>(&effect)) {
    again_.Begin(*look);
  } else if (const auto* fault = std::get_if<MachineFault>(&effect)) {
    return Fail(Blame::kMachine, "{}", fault->why);
  } else if (auto* examine = std::get_if<ExamineGroup>(&effect)) {
    if (!examine->lease.evaluation)
      WG_TRY(TellSteps(
          GroupSeen{examine->lease.id, GroupHash(examine->group), examine->epoch, examine->worker},
          out));
    waiting_.push_back(std::move(*examine));
  } else if (const auto* keep = std::get_if<KeepEvidence>(&effect)) {
    WG_ASSIGN(const auto path, KeepEvidenceFile(options_.evidence_directory, keep->evidence));
    say_("caught: " + keep->text + "; evidence in " + path.string());
  } else if (const auto* keep_records = std::get_if<KeepRecords>(&effect)) {
    WG_TRY(MakeFolder(records_.parent_path()));
    const Bytes& bytes = keep_records->records;
    WG_TRY(WriteFileAtomic(records_, {reinterpret_cast<const char*>(bytes.data()), bytes.size()}));
  } else if (const auto* noticed = std::get_if<Noticed>(&effect)) {
    say_(noticed->text);
  } else {
    return Fail(Blame::kPeer, "the host: {}", std::get<HostLied>(effect).why);
  }
  return {};
}

// Whoever came late asks for what is announced no more.
bool Validating::PoliciesHere(const ExamineGroup& job) {
  bool here = true;
  for (const auto& [version, root] : job.roots) {
    if (steps_.Wants(version)) return false;
    if (models_.contains(root) || inputs_.Has(run_, version)) continue;
    // Asked for, and not to be had: the examination will say so.
    if (!asked_for_.insert(version).second) continue;
    steps_.WantPolicy(version);
    here = false;
  }
  return here;
}

Result<std::vector<NodeMessage>> Validating::Work(NodeClient* client) {
  const std::int64_t began = clock_.MonotonicNs();
  const double cpu = ProcessCpuSeconds();
  const bool busy = !steps_.idle();
  WG_ASSIGN(std::vector<NodeMessage> out, steps_.Work(client));
  blocked_ = !waiting_.empty() && !PoliciesHere(waiting_.front());
  const bool examines = !waiting_.empty() && !blocked_;
  if (examines) {
    WG_ASSIGN(std::vector<NodeMessage> said, ExamineOne());
    std::ranges::move(said, std::back_inserter(out));
  }
  const bool looks = !again_.idle();
  if (looks) {
    // Who did not look has nothing to look at again.
    auto looked = again_.Next([this](const AuditItem& item) {
      return options_.pretend ? Examination{.verdict = Fault{"nobody looked"}} : ExamineAgain(item);
    });
    if (looked) {
      WG_ASSIGN(std::vector<NodeMessage> said, Step(std::move(*looked)));
      std::ranges::move(said, std::back_inserter(out));
    }
  }
  if (busy || examines || looks) {
    seconds_ += static_cast<double>(clock_.MonotonicNs() - began) * 1e-9;
    cpu_seconds_ += ProcessCpuSeconds() - cpu;
  }
  return out;
}

Result<std::vector<NodeMessage>> Validating::ExamineOne() {
  const ExamineGroup job = std::move(waiting_.front());
  waiting_.pop_front();
  if (options_.pretend) return Step(GroupExamined{job.ticket, options_.pretend(job)});
  return Step(GroupExamined{job.ticket, ExamineWith(job, &job.probe)});
}

Examination Validating::ExamineWith(const ExamineGroup& job, const GroupProbe* probe) {
  const ModelConfig& model = site_.description.model;
  const ExaminedRun examined{run_, site_.description.recipe, *site_.codec, model.vocab,
                             static_cast<std::uint32_t>(model.layers)};
  const PolicyLookup policies = [&](PolicyVersion version) -> Result<const Model*> {
    const auto root = job.roots.find(version);
    if (root == job.roots.end())
      return Fail(Blame::kMachine, "policy version {} is not known", version.value);
    return ModelOf(version, root->second);
  };
  return Examine(examined, policies, pool_, job.lease, job.group, probe);
}

Examination Validating::ExamineAgain(const AuditItem& item) {
  ExamineGroup job{.lease = *item.lease, .group = *item.group};
  for (const PolicyVersion version : VersionsOf(job.group)) {
    if (const auto* policy = core_.PolicyOf(version))
      job.roots.emplace(version, policy->claim.root);
  }
  return ExamineWith(job, nullptr);
}

Result<const Model*> Validating::ModelOf(PolicyVersion version, const Hash256& root) {
  if (const auto known = models_.find(root); known != models_.end()) return known->second.get();
  WG_ASSIGN(auto model, inputs_.Policy(site_, run_, version, root));
  if (used_.size() >= kModelsKept) {
    models_.erase(used_.front());
    used_.pop_front();
  }
  used_.push_back(root);
  return models_.emplace(root, std::move(model)).first->second.get();
}

}  // namespace waggle
