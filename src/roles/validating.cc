#include "roles/validating.h"

#include "base/files.h"
#include "base/hex.h"

namespace waggle {
namespace {

constexpr std::size_t kModelsKept = 4;

ValidatorSettings SettingsOf(const ValidateOptions& options, const Hash256& run,
                             const RunSite& site, Bytes description) {
  ValidatorSettings settings{.run = run,
                             .stake = options.stake,
                             .layers = static_cast<std::uint32_t>(site.description.model.layers),
                             .description_hash = Sha256(description)};
  settings.description = std::move(description);
  return settings;
}

}  // namespace

Validating::Validating(const ValidateOptions& options, const Signer& key, const Hash256& run,
                       const RunSite& site, Bytes description, std::filesystem::path policies,
                       const Ops& ops, ThreadPool& pool,
                       std::function<void(const std::string&)> say)
    : options_(options),
      run_(run),
      site_(site),
      pool_(pool),
      say_(std::move(say)),
      inputs_({std::move(policies)}, ops, pool),
      core_(key, SettingsOf(options, run, site, std::move(description))) {}

Result<std::vector<NodeMessage>> Validating::Step(const ValidatorEvent& event) {
  std::vector<NodeMessage> out;
  for (ValidatorEffect& effect : core_.Step(event)) WG_TRY(Perform(std::move(effect), out));
  return out;
}

Status Validating::Perform(ValidatorEffect effect, std::vector<NodeMessage>& out) {
  if (auto* say = std::get_if<SayToHost>(&effect)) {
    out.push_back(std::move(say->message));
  } else if (auto* examine = std::get_if<ExamineGroup>(&effect)) {
    waiting_.push_back(std::move(*examine));
  } else if (const auto* keep = std::get_if<KeepEvidence>(&effect)) {
    std::error_code error;
    std::filesystem::create_directories(options_.evidence_directory, error);
    const auto path = options_.evidence_directory /
                      (ToHex(EvidenceHash(keep->evidence)).substr(0, 16) + ".wglevid");
    const std::string_view bytes(reinterpret_cast<const char*>(keep->evidence.data()),
                                 keep->evidence.size());
    WG_TRY(WriteFileAtomic(path, bytes));
    say_("caught: " + keep->text + "; evidence in " + path.string());
  } else if (const auto* noticed = std::get_if<Noticed>(&effect)) {
    say_(noticed->text);
  } else {
    return Fail(Blame::kPeer, "the host: {}", std::get<HostLied>(effect).why);
  }
  return {};
}

Result<std::vector<NodeMessage>> Validating::Work() {
  if (waiting_.empty()) return std::vector<NodeMessage>{};
  const ExamineGroup job = std::move(waiting_.front());
  waiting_.pop_front();
  if (options_.pretend) return Step(GroupExamined{job.ticket, options_.pretend(job)});
  const ModelConfig& model = site_.description.model;
  const ExaminedRun examined{run_, site_.description.recipe, *site_.codec, model.vocab,
                             static_cast<std::uint32_t>(model.layers)};
  const PolicyLookup policies = [&](PolicyVersion version) -> Result<const Model*> {
    const auto root = job.roots.find(version);
    if (root == job.roots.end())
      return Fail(Blame::kMachine, "policy version {} is not known", version.value);
    return ModelOf(version, root->second);
  };
  return Step(GroupExamined{job.ticket,
                            Examine(examined, policies, pool_, job.lease, job.group, &job.probe)});
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
