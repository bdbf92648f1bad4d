// waggle verify: decides evidence, takes steps again; offline, unless it is given a relay.
#include <memory>
#include <nlohmann/json.hpp>

#include "audit/mirror_inputs.h"
#include "audit/steps/step_log.h"
#include "base/files.h"
#include "base/hex.h"
#include "cli/command.h"
#include "cli/common.h"
#include "delegation/dispute_journal.h"
#include "delegation/dispute_wire.h"
#include "delegation/run_ground.h"

namespace waggle {
namespace {

namespace fs = std::filesystem;

struct VerifyArguments {
  std::vector<std::string> files, inputs;
  std::string orchestrator;
  StepRange steps;
  bool json = false;
  MachineOptions machine;
};

// What a ledger, or a person, wants to know of a file.
struct Judged {
  std::string file;
  std::optional<Evidence> evidence;
  std::optional<DisputeEvidence> dispute;
  Decision decision;
};

// A dispute is played again, from the words that its file holds. What rests on the referee's clock
// cannot be told here.
Decision DecideDispute(const DisputeEvidence& evidence) {
  using Kind = Decision::Kind;
  const KeyPair judge = KeyPair::Generate();  // checks signatures only
  const auto referee = ReplayDispute(evidence, judge, ReadRunGround);
  if (!referee) return {Kind::kNotProved, referee.error().what};
  const DisputeVerdict& v = evidence.verdict;
  if (!v.a_loses && !v.b_loses)
    return {Kind::kNotProved, fmt::format("nobody lost: {}", ToString(v.reason))};
  std::string text;
  for (const auto& [loses, who] :
       {std::pair(v.a_loses, evidence.terms.a), std::pair(v.b_loses, evidence.terms.b)})
    if (loses) text += (text.empty() ? "" : " and ") + ToText(who);
  text += fmt::format(" lost ({}): {}", ToString(v.reason), referee->Place());
  if (v.reason != DisputeCase::kSilent) return {Kind::kProved, text};
  return {Kind::kFault, text + "; that nothing came rests on the referee's clock alone"};
}

Judged Judge(const std::string& file, PublicInputs& inputs, ThreadPool& pool,
             const std::optional<NodeId>& orchestrator) {
  Judged judged{.file = file};
  const auto text = ReadFile(file, kEvidenceBytesMax);
  if (!text) {
    judged.decision = {Decision::Kind::kFault, text.error().what};
    return judged;
  }
  const std::span bytes(reinterpret_cast<const std::uint8_t*>(text->data()), text->size());
  if (IsDisputeFile(bytes)) {
    auto dispute = DecodeDisputeFile(bytes);
    judged.decision = dispute ? DecideDispute(*dispute)
                              : Decision{Decision::Kind::kNotProved, dispute.error().what};
    if (dispute) judged.dispute = std::move(*dispute);
    return judged;
  }
  auto evidence = OpenEvidence(bytes);
  if (!evidence) {
    judged.decision = {Decision::Kind::kNotProved, evidence.error().what};
    return judged;
  }
  judged.decision = Decide(*evidence, inputs, pool, orchestrator);
  judged.evidence = std::move(*evidence);
  return judged;
}

void Print(const Judged& judged, bool json) {
  const Decision& decision = judged.decision;
  if (json) {
    nlohmann::ordered_json line = {
        {"file", judged.file}, {"decision", ToString(decision.kind)}, {"text", decision.text}};
    if (judged.evidence) {
      line["run"] = ToHex(judged.evidence->run);
      line["accused"] = ToText(judged.evidence->accused);
      line["accuser"] = ToText(judged.evidence->accuser);
      line["orchestrator"] = ToText(judged.evidence->orchestrator);
      line["reason"] = ToString(judged.evidence->reason);
    }
    if (judged.dispute) {
      const DisputeEvidence& d = *judged.dispute;
      line["program"] = ToHex(ProgramHash(d.terms.program));
      line["a"] = ToText(d.terms.a);
      line["b"] = ToText(d.terms.b);
      line["a_loses"] = d.verdict.a_loses;
      line["b_loses"] = d.verdict.b_loses;
      line["reason"] = ToString(d.verdict.reason);
      line["evidence_hash"] = ToHex(EvidenceHash(d));
    }
    fmt::print("{}\n", line.dump());
    return;
  }
  fmt::print("{:<10}  {}\n            {}\n", ToString(decision.kind), judged.file, decision.text);
  if (judged.dispute) {
    const DisputeTerms& terms = judged.dispute->terms;
    fmt::print(
        "            about    program {}\n            between  {}\n            and      {}\n",
        ToHex(ProgramHash(terms.program)), ToText(terms.a), ToText(terms.b));
  }
  if (!judged.evidence) return;
  const Evidence& evidence = *judged.evidence;
  fmt::print("            accused  {} ({})\n            by       {}\n", ToText(evidence.accused),
             ToString(evidence.reason), ToText(evidence.accuser));
  if (!evidence.policies.empty())
    fmt::print("            policies signed by {}\n", ToText(evidence.orchestrator));
}

// The steps of a run that audits: 0 they hold, 1 one does not.
Status VerifySteps(const fs::path& run, const VerifyArguments& arguments) {
  WG_ASSIGN(const Ops* ops, arguments.machine.SelectedOps());
  ThreadPool pool(arguments.machine.Threads());
  const auto progress = [&](std::uint64_t version) {
    if (!arguments.json) fmt::print(stderr, "\rversion {} ", version);
  };
  WG_ASSIGN(const StepsChecked checked,
            CheckSteps(RunFolder(run), arguments.steps, *ops, pool, progress));
  if (!arguments.json) fmt::print(stderr, "\n");
  if (!checked.left_out.empty()) {
    fmt::print("wrong       {}\n", checked.left_out);
    SetExitCode(1);
  }
  if (!checked.wrong) {
    fmt::print("holds       {} steps taken again, from the checkpoint of version {}\n",
               checked.steps, checked.begun);
    return {};
  }
  fmt::print("wrong       the step from version {}: {}\n", checked.wrong->step.claim.version.value,
             checked.why);
  SetExitCode(1);
  return {};
}

Status VerifyFiles(const VerifyArguments& arguments) {
  if (arguments.files.size() == 1 && fs::is_directory(arguments.files[0]))
    return VerifySteps(arguments.files[0], arguments);
  WG_ASSIGN(const Ops* ops, arguments.machine.SelectedOps());
  std::optional<NodeId> orchestrator;
  if (!arguments.orchestrator.empty()) {
    WG_ASSIGN(orchestrator, ParseNodeId(arguments.orchestrator));
  }
  ThreadPool pool(arguments.machine.Threads());
  MirrorInputs::Places places{.folders = {}, .relays = {}, .cache = CacheDirectory() / "verify"};
  for (const std::string& place : arguments.inputs) {
    if (place.starts_with("http://") || place.starts_with("https://"))
      places.relays.push_back(place);
    else
      places.folders.push_back(place);
  }
  MirrorInputs inputs(std::move(places), *ops, pool, SystemClock(),
                      [](const std::string& line) { fmt::print(stderr, "{}\n", line); });
  int worst = 0;
  for (const std::string& file : arguments.files) {
    const Judged judged = Judge(file, inputs, pool, orchestrator);
    Print(judged, arguments.json);
    worst = std::max(worst, static_cast<int>(judged.decision.kind));
  }
  SetExitCode(worst);
  return {};
}

}  // namespace

Action DefineVerify(CLI::App& app) {
  auto arguments = std::make_shared<VerifyArguments>();
  app.add_option("files", arguments->files,
                 "Evidence files (.wglevid; .wgldisp of disputes); or the folder of a run that is "
                 "audited: then its "
                 "training steps are taken again.")
      ->required();
  app.add_option("--from", arguments->steps.from, "Steps of a run: from this policy version on.");
  app.add_option("--to", arguments->steps.to, "And up to this one.");
  app.add_option(
      "--inputs", arguments->inputs,
      "Where the policies are that the evidence names by their hashes: the folder of "
      "the run, a volunteer's cache of policies, or whatever holds them; or the URL of a "
      "relay, from which they are fetched. May be given several times.");
  app.add_option("--orchestrator", arguments->orchestrator,
                 "The address that must have signed the policies; else whoever did is printed, and "
                 "it is yours to know whether that is the run's.");
  app.add_flag("--json", arguments->json, "One JSON object a file.");
  arguments->machine.Define(app);
  return [arguments] { return VerifyFiles(*arguments); };
}

}  // namespace waggle
