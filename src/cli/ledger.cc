// waggle ledger: who is paid what, and why; recomputed from the log each time.
#include "cli/ledger.h"

#include <fmt/chrono.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>

#include "audit/round_keeper.h"
#include "base/files.h"
#include "base/hex.h"
#include "cli/command.h"
#include "cli/node.h"
#include "ledger/scenario.h"
#include "store/ledger_store.h"

namespace waggle {
namespace {

struct LedgerArguments {
  std::string action, account_of = "balances", out;
  std::vector<std::string> what;
  PlanArguments plan;
  YumaArguments yuma;
  std::string key = DefaultKeyFile().string(), passphrase_file;
};

std::string TimeOf(std::uint64_t ms) {
  return fmt::format("{:%Y-%m-%d %H:%M:%S}", fmt::gmtime(static_cast<std::time_t>(ms / 1'000)));
}
std::string ShortRun(const LedgerRun& run) { return ToHex(run.value).substr(0, 12); }

Result<std::string> PlaceOf(const LedgerArguments& a) {
  if (!a.what.empty()) return a.what[0];
  return Fail(Blame::kOperator,
              "waggle ledger {} PLACE: a run's folder, an SQLite file, postgresql://..., or an "
              "exported .jsonl",
              a.action);
}
// The whole address, or enough of its beginning.
Result<NodeId> AccountOf(const LedgerArguments& a, const Ledger& ledger) {
  if (a.what.size() < 2)
    return Fail(Blame::kOperator, "waggle ledger {} PLACE ACCOUNT (wgl1...)", a.action);
  if (const auto whole = ParseNodeId(a.what[1])) return *whole;
  std::vector<NodeId> found;
  for (const auto& [node, account] : ledger.state().accounts) {
    if (a.what[1].size() > 4 && ToText(node).starts_with(a.what[1])) found.push_back(node);
  }
  if (found.size() == 1) return found[0];
  return Fail(Blame::kOperator,
              "'{}': {} accounts begin so: `waggle ledger balances {}` lists them", a.what[1],
              found.size(), a.what[0]);
}

// Calls `see` with each entry and its events, everything verified.
template <class F>
Result<LedgerReplay> Replay(const LedgerLog& log, F&& see) {
  LedgerReplay replay(log.genesis);
  for (const LogRecord& record : log.records) {
    WG_ASSIGN(const LedgerEvents events, replay.Feed(record));
    WG_ASSIGN(const LedgerEntry entry, DecodeEntry(record.entry));
    if (const auto* drand = std::get_if<BeaconExternal>(&entry.request.body)) {
      const auto why = WhyNotBeacon(replay.ledger().FindRun(drand->run)->terms, *drand);
      if (why) return Fail(Blame::kPeer, "entry {}: {}", entry.sequence, *why);
    }
    see(entry, events);
  }
  return replay;
}

Status Balances(const LedgerArguments& a) {
  WG_ASSIGN(const std::string place, PlaceOf(a));
  WG_ASSIGN(const LedgerLog log, ReadLedger(place));
  WG_ASSIGN(const LedgerReplay replay, Replay(log, [](const auto&, const auto&) {}));
  const Ledger& ledger = replay.ledger();
  const LedgerState& state = ledger.state();
  fmt::print("{:<62}  {:>16}  {:>16}  {:>16}  {:>16}\n", "account", "balance", "at stake",
             "withheld", "earned");
  for (const auto& [node, account] : state.accounts) {
    Credits stake, withheld;
    for (const auto& [id, run] : state.runs) {
      const RunMember* member = ledger.MemberOf(id, node);
      if (member != nullptr) stake += member->AtStake();
      withheld += ledger.WithheldOf(id, node);
    }
    fmt::print("{:<62}  {:>16}  {:>16}  {:>16}  {:>16}\n", ToText(node), ToText(account.balance),
               ToText(stake), ToText(withheld), ToText(account.earned));
  }
  for (const auto& [id, run] : state.runs)
    fmt::print("run {}...: budget {}, insurance {}, at stake {}, epoch {}{}\n", ShortRun(id),
               ToText(run.budget), ToText(run.insurance), ToText(run.total_stake), run.epoch,
               run.closed ? ", closed" : "");
  fmt::print("burned {}, treasury {}; all of it {}, which came in less what went out\n",
             ToText(state.burned), ToText(state.treasury), ToText(state.supply));
  return {};
}

Status Statement(const LedgerArguments& a) {
  WG_ASSIGN(const std::string place, PlaceOf(a));
  WG_ASSIGN(const LedgerLog log, ReadLedger(place));
  WG_ASSIGN(const LedgerReplay all, Replay(log, [](const auto&, const auto&) {}));
  WG_ASSIGN(const NodeId account, AccountOf(a, all.ledger()));
  fmt::print("{}\n{:>8}  {:<19}  {:<18}  {:>16}  {:>16}  {}\n", ToText(account), "entry",
             "time (UTC)", "what", "amount", "balance", "run, epoch");
  Credits balance;
  const auto see = [&](const LedgerEntry& entry, const LedgerEvents& events) {
    for (const LedgerEvent& event : events) {
      if (event.who != account && event.other != account) continue;
      const BalanceEffect effect = EffectOf(event.kind);
      const int sign =
          (event.who == account ? effect.who : 0) + (event.other == account ? effect.other : 0);
      balance += Credits{sign * event.amount.value};
      fmt::print("{:>8}  {:<19}  {:<18}  {:>16}  {:>16}  {}\n", entry.sequence, TimeOf(entry.at_ms),
                 ToString(event.kind),
                 sign == 0 && event.amount.value != 0 ? "(" + ToText(event.amount) + ")"
                                                      : ToText(Credits{sign * event.amount.value}),
                 ToText(balance),
                 event.run == LedgerRun{} ? std::string()
                                          : fmt::format("{} {}", ShortRun(event.run), event.epoch));
    }
  };
  WG_TRY(Replay(log, see));
  fmt::print("Amounts in brackets did not move this balance.\n");
  return {};
}

struct EpochRow {
  std::uint64_t batches = 0, audited = 0;
  Credits reserved, paid, forfeited, unspent, slashed;
};

Status Epochs(const LedgerArguments& a) {
  WG_ASSIGN(const std::string place, PlaceOf(a));
  WG_ASSIGN(const LedgerLog log, ReadLedger(place));
  std::map<std::pair<LedgerRun, std::uint64_t>, EpochRow> rows;
  const auto see = [&](const LedgerEntry&, const LedgerEvents& events) {
    for (const LedgerEvent& event : events) {
      if (event.run == LedgerRun{}) continue;
      const auto add = [&](Credits EpochRow::*sum) {
        rows[{event.run, event.epoch}].*sum += event.amount;
      };
      if (event.kind == LedgerEventKind::kEpochSealed) {
        add(&EpochRow::reserved);
        rows[{event.run, event.epoch}].batches += event.number;
      }
      if (event.kind == LedgerEventKind::kAuditDrawn) ++rows[{event.run, event.epoch}].audited;
      if (event.kind == LedgerEventKind::kPaid || event.kind == LedgerEventKind::kPayVesting)
        add(&EpochRow::paid);
      if (event.kind == LedgerEventKind::kPayForfeited) add(&EpochRow::forfeited);
      if (event.kind == LedgerEventKind::kPayUnspent) add(&EpochRow::unspent);
      if (event.kind == LedgerEventKind::kSlashed) add(&EpochRow::slashed);
    }
  };
  WG_TRY(Replay(log, see));
  fmt::print("{:<12}  {:>6}  {:>8}  {:>8}  {:>14}  {:>14}  {:>12}  {:>12}  {:>12}\n", "run",
             "epoch", "batches", "audited", "reserved", "workers paid", "forfeited", "unspent",
             "slashed");
  for (const auto& [key, row] : rows)
    fmt::print("{:<12}  {:>6}  {:>8}  {:>8}  {:>14}  {:>14}  {:>12}  {:>12}  {:>12}\n",
               ShortRun(key.first), key.second, row.batches, row.audited, ToText(row.reserved),
               ToText(row.paid), ToText(row.forfeited), ToText(row.unspent), ToText(row.slashed));
  return {};
}

Status Proof(const LedgerArguments& a) {
  WG_ASSIGN(const std::string place, PlaceOf(a));
  WG_ASSIGN(const LedgerLog log, ReadLedger(place));
  WG_ASSIGN(const LedgerReplay all, Replay(log, [](const auto&, const auto&) {}));
  WG_ASSIGN(const NodeId account, AccountOf(a, all.ledger()));
  return PrintProof(log, account, a.account_of == "earned" ? TreeOf::kEarned : TreeOf::kBalances);
}

Status VerifyLedger(const LedgerArguments& a) {
  WG_ASSIGN(const std::string place, PlaceOf(a));
  WG_ASSIGN(const LedgerLog log, ReadLedger(place));
  std::uint64_t roots = 0;
  for (const LogRecord& record : log.records) roots += record.root ? 1 : 0;
  WG_ASSIGN(const LedgerReplay replay, Replay(log, [](const auto&, const auto&) {}));
  const LedgerState& state = replay.ledger().state();
  if (TotalOf(state) != state.supply)
    return Fail(Blame::kBug, "{} of money exist, {} came in", ToText(TotalOf(state)),
                ToText(state.supply));
  fmt::print(
      "ledger {}: {} entries, every author's and every head's signature, the chain, {} roots: "
      "all as they should be\nsupply  {}\nchain   0x{}\nroot    0x{}\n",
      log.genesis.name, log.records.size(), roots, ToText(state.supply), ToHex(replay.chain()),
      ToHex(replay.ledger().Root()));
  return {};
}

Status Scenarios(const LedgerArguments& a) {
  if (a.what.empty()) return Fail(Blame::kOperator, "waggle ledger scenario FILE...");
  for (const std::string& path : a.what) {
    WG_ASSIGN(const std::string text, ReadFile(path, kScenarioBytesMax));
    WG_ASSIGN(const ScenarioReport report, RunScenario(text, path));
    fmt::print("{}: {} requests, {} expectations hold, root 0x{}\n", path, report.requests,
               report.expectations, ToHex(report.root));
    if (a.out.empty()) continue;
    WG_ASSIGN(const auto store,
              LedgerStore::Open(a.out, LedgerStore::Access::kWrite, report.genesis));
    WG_ASSIGN(const auto old, store->Read(1, 1));
    if (!old.empty()) return Fail(Blame::kOperator, "{} holds entries already", a.out);
    WG_TRY(store->Append(report.log));
  }
  return {};
}

Status Submit(const LedgerArguments& a) {
  WG_ASSIGN(const std::string place, PlaceOf(a));
  if (a.what.size() != 2)
    return Fail(Blame::kOperator, "waggle ledger submit PLACE FILE: one signed request");
  return SubmitToLedger({place, a.what[1], a.key, a.passphrase_file});
}

Status Act(const LedgerArguments& a) {
  if (a.action == "balances") return Balances(a);
  if (a.action == "statement") return Statement(a);
  if (a.action == "epochs") return Epochs(a);
  if (a.action == "proof") return Proof(a);
  if (a.action == "verify") return VerifyLedger(a);
  if (a.action == "scenario") return Scenarios(a);
  if (a.action == "plan") return PrintPlan(a.plan);
  if (a.action == "submit") return Submit(a);
  WG_ASSIGN(const std::string place, PlaceOf(a));
  if (a.action == "yuma") return PrintYuma(place, a.yuma);
  return a.action == "export" ? ExportLedger(place) : CheckProof(place);
}

void DefinePlan(CLI::App& app, PlanArguments& plan) {
  app.add_option("--items", plan.game.items, "plan: items of one epoch's batch (n).");
  app.add_option("--pay", plan.game.pay, "plan: pay of an item (r).");
  app.add_option("--cost", plan.game.cost, "plan: cost of an honest item (c).");
  app.add_option("--cheat", plan.game.cheat_cost, "plan: cost of a made-up item (k).");
  app.add_option("--audited", plan.game.audited, "plan: items audited of an audited batch (m).");
  app.add_option("--detection", plan.game.detection,
                 "plan: chance that auditing a bad item proves it (d).");
  app.add_option("--stake", plan.stake, "plan: a worker's stake: prints the audit rate it needs.");
  app.add_option("--audit-rate", plan.chance, "plan: an audit rate: prints the stake it needs.");
  app.add_option("--factor", plan.factor, "plan: margin of the ledger's rule.");
  app.add_option("--floor", plan.floor, "plan: lowest audit rate of the ledger's rule.");
  app.add_option("--slash", plan.slash, "plan: share of the stake that a first proof takes.");
  app.add_option("--whistle", plan.whistle, "plan: share of a slash that a whistle-blower gets.");
  app.add_option("--gain", plan.gain, "plan: what one sabotaged item is worth to a saboteur.");
  app.add_flag("--plot", plan.plot, "plan: draw the audit rate over the stake.");
}

}  // namespace

Action DefineLedger(CLI::App& app) {
  auto arguments = std::make_shared<LedgerArguments>();
  app.add_option("action", arguments->action,
                 "balances, statement, epochs, proof, check-proof, export, verify, plan, "
                 "scenario, yuma or submit.")
      ->required()
      ->check(CLI::IsMember({"balances", "statement", "epochs", "proof", "check-proof", "export",
                             "verify", "plan", "scenario", "yuma", "submit"}));
  app.add_option("what", arguments->what,
                 "Where the ledger is (a run's folder, an SQLite file, postgresql://..., an "
                 "exported .jsonl), and the account; or files of scenarios; or a proof; yuma: a "
                 "*.yuma file, or where a ledger is; submit: where the ledger is, and the file of "
                 "a request that somebody signed, as `waggle referee` writes it.");
  app.add_option("--of", arguments->account_of,
                 "proof: of the balance, or of all that was ever earned.")
      ->check(CLI::IsMember({"balances", "earned"}));
  app.add_option("--out", arguments->out, "scenario: keep its log as a ledger, here.");
  app.add_flag("--json", arguments->yuma.json, "yuma: as JSON.");
  app.add_option("--cap", arguments->yuma.cap,
                 "yuma: rollouts of a worker that count in 12 epochs (GRAIL: 60000; 0: as many as "
                 "the best has).");
  app.add_option("--bonds", arguments->yuma.version, "yuma, of a ledger: version of bonds, 2 or 3.")
      ->check(CLI::IsMember({2, 3}));
  app.add_option("--key", arguments->key, "submit: the key file of the ledger's sequencer.");
  app.add_option("--passphrase-file", arguments->passphrase_file,
                 "submit: file whose first line is the key's passphrase.");
  DefinePlan(app, arguments->plan);
  return [arguments] { return Act(*arguments); };
}

}  // namespace waggle
