// waggle referee: compares what trainers say a program came to, and finds out who is wrong.
#include <atomic>
#include <bit>
#include <chrono>
#include <future>
#include <memory>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/files.h"
#include "base/hex.h"
#include "cli/command.h"
#include "cli/common.h"
#include "cli/ledger.h"
#include "cli/node.h"
#include "delegation/answer_run.h"
#include "delegation/delegated_rollouts.h"
#include "delegation/dispute_journal.h"
#include "delegation/dispute_settlement.h"
#include "delegation/referee_run.h"
#include "delegation/response_fetch.h"

namespace waggle {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

struct RefereeArguments {
  std::vector<std::string> parties;
  std::string recipe, out = "referee", key = DefaultKeyFile().string(), passphrase_file;
  std::vector<std::string> overrides;
  std::string ledger;  // a place; and the number of a dispute in it
  std::uint64_t ledger_dispute = 0;
  double deadline = 60, work_deadline = 600;
  unsigned extensions = 3;
  bool quiet = false;
  MachineOptions machine;
};

double Seconds() { return static_cast<double>(SystemClock().MonotonicNs()) * 1e-9; }

// A run's folder on this machine, answered for within this process, over the same wire.
class LocalAnswer {
 public:
  static Result<std::unique_ptr<LocalAnswer>> Start(const fs::path& run, const fs::path& folder,
                                                    const Ops& ops, unsigned threads) {
    std::error_code error;
    fs::create_directories(folder, error);
    if (error)
      return Fail(Blame::kOperator, "cannot create {}: {}", folder.string(), error.message());
    auto answer = std::make_unique<LocalAnswer>(threads);
    WG_ASSIGN(answer->run_, OpenAnswerer(run, ops, answer->pool_));
    std::promise<std::string> invite;
    std::future<std::string> ready = invite.get_future();
    AnswerOptions options;
    options.listen = "127.0.0.1:0";
    options.folder = folder;
    options.listening = [&invite](const std::string& line) { invite.set_value(line); };
    options.wants_to_leave = [a = answer.get()] { return a->leave_.load(); };
    answer->thread_ = std::thread([a = answer.get(), options, &invite] {
      const auto ended = AnswerForRun(options, *a->run_, a->key_, SystemClock());
      if (ended) return;
      a->error_ = ended.error();
      invite.set_value("");
    });
    const std::string line = ready.get();
    if (line.empty()) return Forward(*answer->error_);
    auto parsed = ParseInvite(line);
    if (!parsed) return Forward(AsError(parsed.error()));
    answer->invite_ = *parsed;
    return answer;
  }
  explicit LocalAnswer(unsigned threads) : pool_(threads), key_(KeyPair::Generate()) {}
  ~LocalAnswer() {
    leave_ = true;
    if (thread_.joinable()) thread_.join();
  }
  const Invite& invite() const { return invite_; }

 private:
  ThreadPool pool_;
  KeyPair key_;
  std::unique_ptr<Answerer> run_;
  Invite invite_;
  std::atomic<bool> leave_{false};
  std::optional<Error> error_;
  std::thread thread_;
};

Json JsonOf(const RefereeReport& report, const RunProgram& program) {
  const bool rollouts = program.kind == DisputeKind::kRollout;
  Json json = {{"program", ToHex(ProgramHash(program))},
               {rollouts ? "prompts" : "steps", BatchesIn(program)}};
  const bool run = program.kind == DisputeKind::kReinforcement;
  if (rollouts || run) json["responses"] = BatchesIn(program) * program.group;
  json["answer"] = report.answer ? Json(ToHex(*report.answer)) : Json(nullptr);
  for (const RefereeReport::Party& party : report.parties) {
    Json line = {{"name", party.name}, {"standing", ToString(party.standing)}};
    if (party.answer) {
      line["address"] = ToText(party.node);
      line["answer"] = ToHex(*party.answer);
    }
    json["parties"].push_back(std::move(line));
  }
  json["disputes"] = Json::array();
  for (const RefereeReport::Dispute& d : report.disputes) {
    json["disputes"].push_back({{"a", report.parties[d.a].name},
                                {"b", report.parties[d.b].name},
                                {"a_loses", d.verdict.a_loses},
                                {"b_loses", d.verdict.b_loses},
                                {"case", ToString(d.verdict.reason)},
                                {rollouts ? "prompt" : "step", BatchOf(program, d.verdict.unit)},
                                {"response", d.verdict.sequence},
                                {"token", d.verdict.token},
                                {"node", d.verdict.node},
                                {"tile", d.verdict.tile},
                                {"place", d.place},
                                {"rounds", d.stats.rounds},
                                {"bytes_in", d.stats.bytes_in},
                                {"bytes_out", d.stats.bytes_out},
                                {"tile_work", d.stats.tile_work},
                                {"seconds", d.seconds},
                                {"referee_seconds", d.referee_seconds},
                                {"kept", d.kept},
                                {"resumed", d.resumed},
                                {"evidence", d.evidence.string()},
                                {"evidence_hash", ToHex(d.evidence_hash)}});
    if (run) json["disputes"].back()["unit"] = IsBatch(program, d.verdict.unit) ? "batch" : "step";
  }
  return json;
}

void Print(const RefereeReport& report) {
  for (const RefereeReport::Dispute& d : report.disputes) {
    const std::string &a = report.parties[d.a].name, &b = report.parties[d.b].name;
    const std::string who = d.verdict.a_loses && d.verdict.b_loses ? a + " and " + b
                            : d.verdict.a_loses                    ? a
                            : d.verdict.b_loses                    ? b
                                                                   : "nobody";
    fmt::print("dispute      {} against {}: {} loses ({})\n             {}\n", a, b, who,
               ToString(d.verdict.reason), d.place);
    fmt::print(
        "             {} rounds, {} bytes in, about {} out, {:.2f} s, of those {:.4f} here{}\n",
        d.stats.rounds, d.stats.bytes_in, d.stats.bytes_out, d.seconds, d.referee_seconds,
        d.kept      ? "; decided in an earlier call"
        : d.resumed ? "; gone on with"
                    : "");
    fmt::print("             evidence {} ({})\n", d.evidence.string(), ToHex(d.evidence_hash));
  }
  for (const RefereeReport::Party& party : report.parties)
    fmt::print("{:<12} {}{}\n", ToString(party.standing), party.name,
               party.answer ? "  " + ToText(party.node) : "");
  if (report.answer)
    fmt::print("answer       {}\n", ToHex(*report.answer));
  else
    fmt::print("answer       none stands\n");
}

// The word that resolves the ledger's dispute, signed, for whoever sequences that ledger.
Status Settle(const RefereeArguments& arguments, const RefereeReport& report, const KeyPair& key) {
  WG_ASSIGN(const LedgerLog log, ReadLedger(arguments.ledger));
  LedgerReplay replay(log.genesis);
  for (const LogRecord& record : log.records) WG_TRY(replay.Feed(record).map([](const auto&) {}));
  std::string why = "there was no dispute";
  for (const RefereeReport::Dispute& dispute : report.disputes) {
    WG_ASSIGN(const DisputeEvidence evidence, ReadDisputeFile(dispute.evidence));
    const auto request = SettlementOf(replay.ledger(), arguments.ledger_dispute, evidence, key);
    if (!request) {
      why = request.error().what;
      continue;
    }
    const fs::path file = fs::path(arguments.out) / "resolve.request";
    WG_TRY(WriteFileAtomic(file, ToHex(Encode(*request)) + "\n"));
    fmt::print("ledger       dispute {}: {}; the signed request is in {}\n",
               arguments.ledger_dispute,
               std::get<Resolve>(request->body).guilty ? "guilty" : "not guilty", file.string());
    return {};
  }
  return Fail(Blame::kOperator, "dispute {} of {} is not settled: {}", arguments.ledger_dispute,
              arguments.ledger, why);
}

std::string LineOf(const RolloutWork& work, std::uint64_t sequence,
                   const std::vector<TokenRecord>& response) {
  Json line = {{"prompt", sequence / work.run.group}, {"response", sequence % work.run.group}};
  std::vector<TokenId> tokens;
  std::vector<float> logp;
  for (const TokenRecord& token : response) {
    tokens.push_back(token.token);
    logp.push_back(std::bit_cast<float>(token.logp));
  }
  line["text"] = work.tokenizer->Decode(tokens, /*skip_special=*/true);
  line["tokens"] = tokens;
  line["logp"] = logp;
  return line.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

// The responses that were accepted, from whoever of those that stand gives them.
Status Keep(const RefereeArguments& arguments, const RefereeOptions& options,
            const RefereeReport& report, const KeyPair& key) {
  RolloutRecipe recipe;
  WG_ASSIGN(recipe, ReadRolloutRecipe(RecipeFile(arguments.recipe)));
  WG_TRY(OverrideAll(recipe, arguments.overrides));
  recipe.policy = ToHex(options.program.state);  // known by now
  WG_ASSIGN(const RolloutWork work, OpenRolloutWork(std::move(recipe)));
  const FetchOptions fetch{options.program, *report.answer, options.rules.hash_ns, EndWanted};
  std::string why = "nobody stands";
  for (std::size_t i = 0; i < report.parties.size(); ++i) {
    if (report.parties[i].standing != RefereeReport::Standing::kStands) continue;
    const auto responses = FetchResponses(options.parties[i].invite, fetch, key, SystemClock());
    if (!responses) {
      why = fmt::format("{}: {}", report.parties[i].name, responses.error().what);
      continue;
    }
    std::string text;
    for (std::uint64_t s = 0; s < responses->size(); ++s) text += LineOf(work, s, (*responses)[s]);
    const fs::path file = fs::path(arguments.out) / "responses.jsonl";
    WG_TRY(WriteFileAtomic(file, text));
    fmt::print("responses    {}, from {}\n", file.string(), report.parties[i].name);
    return {};
  }
  return Fail(Blame::kPeer,
              "the responses that were accepted did not come ({}): the same command "
              "asks for them again",
              why);
}

Status ArbitrateRuns(const RefereeArguments& arguments) {
  WG_ASSIGN(const Ops* ops, arguments.machine.SelectedOps());
  WG_ASSIGN(const KeyPair key, NodeKey(arguments.key, arguments.passphrase_file));
  const double began = Seconds();
  WG_ASSIGN(const RunProgram program, ReadDelegatedProgram(arguments.recipe, arguments.overrides));
  fmt::print("program      {}: {}, formed in {:.2f} s\n", ToHex(ProgramHash(program)),
             SizeOf(program), Seconds() - began);
  RefereeOptions options;
  options.program = program;
  options.out = arguments.out;
  options.rules.hash_ns = static_cast<std::int64_t>(arguments.deadline * 1e9);
  options.rules.work_ns = static_cast<std::int64_t>(arguments.work_deadline * 1e9);
  options.rules.extensions = static_cast<std::uint8_t>(arguments.extensions);
  std::vector<std::unique_ptr<LocalAnswer>> local;
  for (const std::string& text : arguments.parties) {
    if (fs::is_directory(text)) {
      WG_ASSIGN(
          auto answer,
          LocalAnswer::Start(text, fs::path(arguments.out) / fmt::format("local-{}", local.size()),
                             *ops, arguments.machine.Threads()));
      options.parties.push_back({text, answer->invite()});
      local.push_back(std::move(answer));
      continue;
    }
    const auto invite = ParseInvite(text);
    if (!invite) return Forward(AsError(invite.error()));
    options.parties.push_back(
        {fmt::format("{}:{}", invite->hosts[0].host, invite->hosts[0].port), *invite});
  }
  if (!arguments.quiet)
    options.say = [](const std::string& line) { fmt::print(stderr, "{}\n", line); };
  options.wants_to_leave = EndWanted;
  EndWanted();  // from here on, signals mean: leave
  WG_ASSIGN(const RefereeReport report, Arbitrate(options, key, SystemClock()));
  if (report.left) {
    fmt::print("left before it was over; the same command goes on with it\n");
    SetExitCode(1);
    return {};
  }
  Print(report);
  if (!report.answer) SetExitCode(1);
  WG_TRY(WriteFileAtomic(fs::path(arguments.out) / "result.json",
                         JsonOf(report, program).dump(1) + "\n"));
  if (!arguments.ledger.empty()) WG_TRY(Settle(arguments, report, key));
  if (!report.answer || program.kind != DisputeKind::kRollout) return {};
  return Keep(arguments, options, report, key);
}

}  // namespace

Action DefineReferee(CLI::App& app) {
  auto arguments = std::make_shared<RefereeArguments>();
  app.add_option("parties", arguments->parties,
                 "Those who ran the program: lines that `waggle answer` printed, or folders of "
                 "runs on this machine.")
      ->required();
  app.add_option(
         "--recipe", arguments->recipe,
         "The program that was delegated: a recipe of `waggle sft` with `commitment = true`, "
         "one of rollouts with [prompts], or one of `waggle run`; or a folder with one.")
      ->required();
  app.add_option("--set", arguments->overrides,
                 "Override a setting of the recipe, as those who ran it were told to; repeatable.");
  app.add_option("--out", arguments->out,
                 "Folder for evidence and result.json. The same command again goes on with it.");
  app.add_option("--deadline", arguments->deadline,
                 "Seconds to answer what is known; also for what a run came to.");
  app.add_option("--work-deadline", arguments->work_deadline,
                 "Seconds to answer what must be computed again.");
  app.add_option("--extensions", arguments->extensions,
                 "How often each may ask for that time once more.")
      ->check(CLI::Range(0, 16));
  app.add_option(
      "--ledger", arguments->ledger,
      "A ledger (a run's folder, a database, exported lines) with a dispute about one of "
      "the commitments: its resolution is signed and written to OUT/resolve.request.");
  app.add_option("--ledger-dispute", arguments->ledger_dispute, "Its number there.");
  app.add_option("--key", arguments->key, "This node's key file; made if it does not exist.");
  app.add_option("--passphrase-file", arguments->passphrase_file,
                 "File whose first line is the key's passphrase.");
  app.add_flag("--quiet", arguments->quiet, "Print the result only.");
  arguments->machine.Define(app);
  return [arguments] { return ArbitrateRuns(*arguments); };
}

}  // namespace waggle
