// waggle ledger yuma: a market of weights from a text, or what Yuma consensus makes of an audited
// run's verdicts, beside what its ledger paid.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "audit/round_keeper.h"
#include "base/files.h"
#include "base/hex.h"
#include "cli/ledger.h"
#include "ledger/verdict_weights.h"
#include "ledger/yuma_scenario.h"

namespace waggle {
namespace {

using Json = nlohmann::ordered_json;

double Real(Fixed x) { return static_cast<double>(x.raw) * 0x1p-32; }

Json RowJson(const YumaRow& row, const std::vector<std::string>& names) {
  Json json = Json::object();
  for (const YumaEntry& entry : row) json[names[entry.uid]] = entry.value;
  return json;
}

// What an epoch came to, whoever described it.
Json OutcomeJson(const YumaOutcome& o, const YumaEmission& e, const std::vector<std::string>& names,
                 std::size_t uid) {
  return {{"name", names[uid]},
          {"stake", Real(o.stake[uid])},
          {"active_stake", Real(o.active_stake[uid])},
          {"consensus", Real(o.consensus[uid])},
          {"rank", Real(o.rank[uid])},
          {"incentive", Real(o.incentive[uid])},
          {"validator_trust", Real(o.validator_trust[uid])},
          {"dividends", Real(o.dividends[uid])},
          {"bonds", RowJson(o.bonds[uid], names)},
          {"permit", static_cast<bool>(o.permits[uid])},
          {"emission_miner", e.miner[uid]},
          {"emission_validator", e.validator[uid]}};
}

std::string BondsText(const YumaRow& row, const std::vector<std::string>& names) {
  std::string text;
  for (const YumaEntry& entry : row)
    text += fmt::format("{}{}={}", text.empty() ? "" : " ", names[entry.uid], entry.value);
  return text;
}

Status PrintScenario(const std::string& path, bool as_json) {
  WG_ASSIGN(const std::string text, ReadFile(path, kYumaScenarioBytesMax));
  WG_ASSIGN(const YumaScenarioReport report, RunYumaScenario(text, path));
  Json json = {{"scenario", path},
               {"version", static_cast<int>(report.settings.version)},
               {"requests", report.requests},
               {"expectations", report.expectations},
               {"epochs", Json::array()}};
  for (const YumaScenarioEpoch& epoch : report.epochs) {
    const YumaOutcome& o = epoch.outcome;
    Json one = {{"height", epoch.height}, {"emission_left", epoch.emission.left}};
    if (!as_json)
      fmt::print("epoch at block {}\n{:<16} {:>8} {:>10} {:>10} {:>10} {:>10} {:>16} {:>16}  {}\n",
                 epoch.height, "", "stake", "consensus", "incentive", "trust", "dividends",
                 "as miner", "as validator", "bonds");
    for (std::size_t uid = 0; uid < epoch.names.size(); ++uid) {
      Json neuron = OutcomeJson(o, epoch.emission, epoch.names, uid);
      neuron["weights"] = RowJson(epoch.weights[uid], epoch.names);
      one["neurons"].push_back(std::move(neuron));
      if (!as_json)
        fmt::print("{:<16} {:>8.5f} {:>10.6f} {:>10.6f} {:>10.6f} {:>10.6f} {:>16} {:>16}  {}\n",
                   epoch.names[uid], Real(o.active_stake[uid]), Real(o.consensus[uid]),
                   Real(o.incentive[uid]), Real(o.validator_trust[uid]), Real(o.dividends[uid]),
                   epoch.emission.miner[uid], epoch.emission.validator[uid],
                   BondsText(o.bonds[uid], epoch.names));
    }
    json["epochs"].push_back(std::move(one));
  }
  // A name may be no UTF-8.
  if (as_json)
    fmt::print("{}\n", json.dump(2, ' ', false, Json::error_handler_t::replace));
  else
    fmt::print("{}: {} requests, {} expectations hold\n", path, report.requests,
               report.expectations);
  return {};
}

std::string ShortName(const WeighedNode& node) {
  return node.node ? ToText(*node.node).substr(0, 16) : "(burnt)";
}

void PrintEpoch(const WeighedEpoch& epoch, const std::vector<std::string>& names) {
  fmt::print("run {} epoch {}\n{:<16} {:>10} {:>10} {:>10} {:>10} {:>14} {:>14}  {}\n",
             ToHex(epoch.run.value).substr(0, 12), epoch.epoch, "", "stake", "consensus",
             "incentive", "dividends", "ledger paid", "yuma pays", "weights that it would set");
  for (std::size_t uid = 0; uid < epoch.nodes.size(); ++uid) {
    const WeighedNode& node = epoch.nodes[uid];
    std::string weights;
    for (std::size_t j = 0; j < epoch.weights[uid].size(); ++j)
      if (epoch.weights[uid][j].raw > 0)
        weights += fmt::format("{}{}={:.6f}", weights.empty() ? "" : " ", names[j],
                               Real(epoch.weights[uid][j]));
    const Credits would{static_cast<std::int64_t>(epoch.emission.miner[uid]) +
                        static_cast<std::int64_t>(epoch.emission.validator[uid])};
    fmt::print("{:<16} {:>10} {:>10.6f} {:>10.6f} {:>10.6f} {:>14} {:>14}  {}\n", names[uid],
               ToText(Credits{static_cast<std::int64_t>(node.stake)}),
               Real(epoch.outcome.consensus[uid]), Real(epoch.outcome.incentive[uid]),
               Real(epoch.outcome.dividends[uid]), ToText(node.worker_paid + node.validator_paid),
               ToText(would), weights);
  }
}

Json EpochJson(const WeighedEpoch& epoch) {
  std::vector<std::string> names;
  for (const WeighedNode& node : epoch.nodes)
    names.push_back(node.node ? ToText(*node.node) : "burnt");
  Json json = {{"run", ToHex(epoch.run.value)},
               {"epoch", epoch.epoch},
               {"emission_left", epoch.emission.left}};
  for (std::size_t uid = 0; uid < names.size(); ++uid) {
    Json one = OutcomeJson(epoch.outcome, epoch.emission, names, uid);
    one["ledger_paid_worker"] = epoch.nodes[uid].worker_paid.value;
    one["ledger_paid_validator"] = epoch.nodes[uid].validator_paid.value;
    one["weights"] = Json::object();
    for (std::size_t j = 0; j < epoch.weights[uid].size(); ++j)
      if (epoch.weights[uid][j].raw > 0) one["weights"][names[j]] = Real(epoch.weights[uid][j]);
    json["nodes"].push_back(std::move(one));
  }
  return json;
}

Status PrintRun(const std::string& place, const YumaArguments& a) {
  WG_ASSIGN(const LedgerLog log, ReadLedger(place));
  LedgerReplay replay(log.genesis);
  VerdictBook book;
  for (const LogRecord& record : log.records) {
    WG_ASSIGN(const LedgerEvents events, replay.Feed(record));
    WG_ASSIGN(const LedgerEntry entry, DecodeEntry(record.entry));
    if (const auto* drand = std::get_if<BeaconExternal>(&entry.request.body)) {
      const auto why = WhyNotBeacon(replay.ledger().FindRun(drand->run)->terms, *drand);
      if (why) return Fail(Blame::kPeer, "entry {}: {}", entry.sequence, *why);
    }
    book.See(entry, events, replay.ledger());
  }
  GrailScoring scoring{.cap = a.cap};
  scoring.version = a.version == 3 ? YumaVersion::k3 : YumaVersion::k2;
  WG_ASSIGN(const auto epochs, book.Weigh(scoring));
  if (epochs.empty())
    return Fail(Blame::kOperator, "{}: no settled epoch has a verdict in it", place);
  Json json = {{"cap", a.cap}, {"version", a.version}, {"epochs", Json::array()}};
  for (const WeighedEpoch& epoch : epochs) {
    std::vector<std::string> names;
    for (const WeighedNode& node : epoch.nodes) names.push_back(ShortName(node));
    if (a.json)
      json["epochs"].push_back(EpochJson(epoch));
    else
      PrintEpoch(epoch, names);
  }
  if (a.json) fmt::print("{}\n", json.dump(2));
  return {};
}

}  // namespace

Status PrintYuma(const std::string& place, const YumaArguments& arguments) {
  return place.ends_with(".yuma") ? PrintScenario(place, arguments.json)
                                  : PrintRun(place, arguments);
}

}  // namespace waggle
