#include "cli/command.h"

#include <memory>
#include <vector>

#include "base/float_env.h"

namespace waggle {
namespace {

// Errors quote strangers' files: what would move a terminal's cursor is shown, not done.
std::string ForTerminal(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    const bool c0 = (c < 0x20 && c != '\n' && c != '\t') || c == 0x7f;
    const bool c1 = c >= 0x80 && c < 0xa0 && (i == 0 || text[i - 1] == '\xc2');  // in UTF-8
    if (c0 || c1)
      out += fmt::format("\\x{:02x}", c);
    else
      out += text[i];
  }
  return out;
}

int exit_code = 0;  // of an action that went well

constexpr Command kCommands[] = {
    {"demo",
     "a small model, trained with volunteers of whom one cheats: he is caught, they are paid",
     "waggle demo\nwaggle demo --threads 1", DefineDemo},
    {"run", "open a training run from a recipe",
     "waggle run recipes/countdown\nwaggle run recipes/gsm8k --model "
     "~/models/Qwen2.5-0.5B-Instruct\n"
     "waggle run recipes/demo --set orchestrator.steps=50 --out runs/short\n"
     "waggle run recipes/demo --listen 0.0.0.0:7100 --host my.address.org:7100",
     DefineRun},
    {"resume", "go on with a run from its newest checkpoint", "waggle resume runs/countdown",
     DefineResume},
    {"join", "sample for somebody's run, until it is over or you press Ctrl-C",
     "waggle join waggle://my.address.org:7100/...\nwaggle join --threads 2 --rollouts 32 "
     "waggle://192.0.2.1:7100/...",
     DefineJoin},
    {"invite", "print the line that volunteers type, for a run that listens",
     "waggle invite runs/demo\nwaggle invite runs/demo --qr", DefineInvite},
    {"relay", "give a run's policies to its volunteers, from this machine's disk and line",
     "waggle relay waggle://my.address.org:7100/... --listen 0.0.0.0:7180 --disk 10GB\nwaggle "
     "relay "
     "--from http://relay.example.org:7180 --listen 0.0.0.0:7180",
     DefineRelay},
    {"desk", "take volunteers for a run in a further process, over one PostgreSQL with its host",
     "waggle run recipes/demo --listen 192.0.2.1:7100 --store postgresql://me@db.local/waggle\n"
     "waggle desk waggle://192.0.2.1:7100/... --store postgresql://me@db.local/waggle --listen "
     "192.0.2.2:7100",
     DefineDesk},
    {"ledger", "show, prove, verify and export who is paid what, and plan stakes and audits",
     "waggle ledger balances runs/demo\nwaggle ledger statement runs/demo wgl1...\nwaggle ledger "
     "epochs runs/demo\nwaggle ledger proof runs/demo wgl1... > proof.json\nwaggle ledger "
     "check-proof proof.json\nwaggle ledger export runs/demo > log.jsonl\nwaggle ledger verify "
     "log.jsonl\nwaggle ledger plan --items 64 --stake 100\nwaggle ledger scenario "
     "tests/ledger/honest_epoch.scenario\nwaggle ledger submit runs/demo referee/resolve.request",
     DefineLedger},
    {"log", "print what happened, from the structured logs of hosts and volunteers",
     "waggle log runs/demo\nwaggle log runs/demo --follow\nwaggle log runs/demo "
     "~/.cache/waggle/logs "
     "--lease 1f",
     DefineLog},
    {"outcomes", "print how every lease of a run ended, one JSON object a line",
     "waggle outcomes runs/demo\nwaggle outcomes runs/demo | grep rejected", DefineOutcomes},
    {"party", "a host, volunteers, cheats and validators in one process, for any recipe",
     "waggle party recipes/demo --volunteers 3\nwaggle party recipes/byzantine --volunteers 7 "
     "--cheats 3 --validators 2",
     DefineParty},
    {"validate", "check others in somebody's run: replay what a beacon draws, accuse with evidence",
     "waggle validate waggle://192.0.2.1:7100/...\nwaggle validate waggle://... --evidence "
     "~/evidence --stake 100",
     DefineValidate},
    {"verify", "decide an evidence file: 0 proved, 1 not proved, 2 cannot be told here",
     "waggle verify evidence/3f2a.wglevid --inputs runs/demo\nwaggle verify referee/*.wgldisp\n"
     "waggle verify *.wglevid --inputs "
     "runs/demo --orchestrator wgl1... --json\nwaggle verify runs/demo --from 50 --to 60",
     DefineVerify},
    {"answer", "answer for a run that somebody delegated, when a referee asks",
     "waggle sft --recipe recipes/verde --out runs/mine\nwaggle answer runs/mine --listen "
     "192.0.2.1:7190\nwaggle answer runs/sampled --recipe recipes/verde/rollouts.toml",
     DefineAnswer},
    {"referee", "compare what others say a program came to, and find out who is wrong, where",
     "waggle referee --recipe recipes/verde waggle://192.0.2.1:7190/... "
     "waggle://192.0.2.2:7190/...\n"
     "waggle referee --recipe recipes/verde runs/mine runs/theirs --out runs/referee",
     DefineReferee},
    {"replay", "train a run again from its accepted groups; the weights must be the same bits",
     "waggle replay runs/demo\nwaggle replay runs/demo --to 50 --out runs/demo-again",
     DefineReplay},
    {"backup", "copy a run, also one that is going on, so that it can be gone on with",
     "waggle backup runs/demo /mnt/backup/demo-tuesday", DefineBackup},
    {"restore", "make a run's folder of a backup",
     "waggle restore /mnt/backup/demo-tuesday runs/demo\n"
     "waggle restore /mnt/backup/demo-tuesday runs/demo --store postgresql://me@db.local/waggle",
     DefineRestore},
    {"status", "show who works for a run that listens, and how it goes",
     "waggle status runs/demo\nwaggle status runs/demo --once\nwaggle status http://127.0.0.1:9100 "
     "--json",
     DefineStatus},
    {"drain", "end a run that listens so that it can be resumed, or send one volunteer away",
     "waggle drain runs/demo\nwaggle drain runs/demo --node wgl1...", DefineDrain},
    {"doctor", "check this machine, an invite or a run's folder, and say what to do",
     "waggle doctor\nwaggle doctor --invite waggle://192.0.2.1:7100/...\nwaggle doctor runs/demo",
     DefineDoctor},
    {"sft", "learn from text files or JSON lines, with a checkpoint to go on from at any moment",
     "waggle train-tokenizer stories.txt --vocab 1024 --out tok.json\n"
     "waggle sft stories.txt --tokenizer tok.json --out runs/stories --set model.layers=4 --set "
     "data.epochs=3\n"
     "waggle sft chats.jsonl --model ~/models/SmolLM2-135M --out runs/chat --set "
     "trainer.lora.rank=16 --set trainer.optimizer.lr=2e-4",
     DefineSft},
    {"train-tokenizer", "learn a byte-level BPE from text files",
     "waggle train-tokenizer stories.txt --vocab 1024 --out tok.json", DefineTrainTokenizer},
    {"eval", "score a model on an environment's held-out tasks",
     "waggle eval --model runs/demo/model --env sort --tasks 500", DefineEval},
    {"export", "write a run's policy as a Hugging Face model directory",
     "waggle export runs/demo --out my-model --format bf16\nwaggle export runs/demo --step 100 "
     "--out halfway",
     DefineExport},
    {"inspect", "show a run, a checkpoint or a model in plain words",
     "waggle inspect runs/demo\nwaggle inspect runs/demo/model\nwaggle inspect "
     "runs/demo/faults/fault-step-12.json",
     DefineInspect},
    {"generate", "complete a prompt",
     "waggle generate --model runs/demo/model --prompt \"12+34=\" --n 4", DefineGenerate},
    {"chat", "talk to a model in the terminal",
     "waggle chat --model ~/models/SmolLM2-135M-Instruct", DefineChat},
    {"score", "log-probs of given token ids, exact to the bit",
     "waggle score --model DIR --ids 1,2,3 --format json", DefineScore},
    {"tokenize", "text to token ids and back",
     "waggle tokenize --model DIR --text \"hello world\"\nwaggle tokenize --model DIR --ids 1,2,3",
     DefineTokenize},
    {"env", "list, show, sample or check task environments",
     "waggle env list\nwaggle env show countdown\nwaggle env sample sat --set vars=6\nwaggle env "
     "check sort",
     DefineEnv},
    {"key", "make, show, back up or restore the key that is this node's identity",
     "waggle key create\nwaggle key show\nwaggle key backup > paper.txt\nwaggle key restore < "
     "paper.txt\nwaggle key create --file spare.key --passphrase",
     DefineKey},
    {"sim", "simulate a whole network with its faults from one seed, and check what must hold",
     "waggle sim tests/sim/fast/host_dies.toml --seed 7\n"
     "waggle sim tests/sim/nightly/chaos.toml --seeds 1000 --jobs 2\n"
     "waggle sim tests/sim/fast/chaos.toml --seed 3 --plant ack-before-store\n"
     "waggle sim tests/sim/big/hour.toml",
     DefineSim},
    {"calibrate",
     "thresholds of fingerprints, with the honest and the null distribution beside them",
     "waggle calibrate recipes/demo --out demo-limits.json\n"
     "waggle calibrate recipes/demo --pairs fast-splitk,fast-tiles --brief\n"
     "waggle calibrate ~/models/Qwen2.5-0.5B-Instruct --env countdown --tasks 8 --max-tokens 128 "
     "--schemes dense,toploc+,race",
     DefineCalibrate},
    {"zoo", "set every cheat that we know against every tier of trust, and show what catches which",
     "waggle zoo\nwaggle zoo --list\nwaggle zoo --only best-of-n,lazy-validator\nwaggle zoo --tier "
     "exact,race --json",
     DefineZoo},
    {"kat", "run the known answers of canonical arithmetic on every instruction set here",
     "waggle kat", DefineKat},
    {"bench", "speeds side by side with the usual libraries, or the behaviour signature",
     "waggle bench\nwaggle bench --signature", DefineBench},
    {"docs", "print generated documentation (cli, settings, metrics)", "waggle docs settings",
     DefineDocs},
};

struct Parser {
  CLI::App app{
      "Waggle: reinforcement-learning post-training that anyone can recompute, bit for bit.",
      "waggle"};
  std::vector<std::pair<CLI::App*, Action>> actions;

  Parser() {
    app.require_subcommand(1);
    app.set_version_flag("--version", WAGGLE_VERSION);
    for (const Command& command : kCommands) {
      CLI::App* sub = app.add_subcommand(command.name, command.summary);
      sub->footer(std::string("Examples:\n  ") + Indented(command.examples));
      actions.emplace_back(sub, command.define(*sub));
    }
    app.footer("Start with `waggle demo`. Every command explains itself: `waggle COMMAND --help`.");
  }

  static std::string Indented(std::string text) {
    for (std::size_t at = text.find('\n'); at != std::string::npos; at = text.find('\n', at + 1))
      text.insert(at + 1, "  ");
    return text;
  }
};

}  // namespace

std::span<const Command> Commands() { return kCommands; }

void SetExitCode(int code) { exit_code = code; }

int RunCommandLine(int argc, char** argv) {
  CheckFloatEnvironment();
  Parser parser;
  try {
    parser.app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return parser.app.exit(error) == 0 ? 0 : 2;
  }
  for (const auto& [sub, action] : parser.actions) {
    if (!sub->parsed()) continue;
    const Status status = action();
    if (status) return exit_code;
    fmt::print(stderr, "waggle {}: {}: {}\n", sub->get_name(), ToString(status.error().blame),
               ForTerminal(status.error().what));
    return status.error().blame == Blame::kOperator ? 2 : 1;
  }
  return 2;
}

std::string CommandLineMarkdown() {
  Parser parser;
  std::string text = "# Command line\n\nGenerated by `waggle docs cli`.\n\n";
  for (const auto& [sub, action] : parser.actions) {
    text += fmt::format("## waggle {}\n\n```\n{}```\n\n", sub->get_name(), sub->help("waggle"));
  }
  return text;
}

}  // namespace waggle
