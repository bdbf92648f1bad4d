#include "ledger/yuma_scenario.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "ledger/scenario_args.h"
#include "ledger/weights.h"

namespace waggle {
namespace {

constexpr std::size_t kLinesMax = 20'000, kWordsMax = 600, kNameMax = 32;
constexpr std::uint64_t kHeightMax = std::uint64_t{1} << 40;
constexpr double kTolerance = 1e-6;
constexpr std::uint64_t kUnitsOff = 1;

template <class... Args>
auto Wrong(fmt::format_string<Args...> format, Args&&... args) {
  return Fail(Blame::kOperator, format, std::forward<Args>(args)...);
}

struct Neuron {
  std::string name;
  std::uint64_t stake = 0, root = 0;
  bool owner = false, permit = false;
  std::optional<YumaRow> said;  // as it was said, where rows are not scaled to 65535
};

class Market {
 public:
  Status Line(const ScenarioWords& words);
  Status End() const;
  YumaScenarioReport TakeReport();

 private:
  Status Settings(const ScenarioWords& words);
  Status Register(const ScenarioWords& words, bool validator);
  Status Replace(const ScenarioWords& words);
  Status SetStake(const ScenarioWords& words);
  Status SetTime(const ScenarioWords& words);
  Status Say(const ScenarioWords& words);
  Status Reveal(const ScenarioWords& words);
  Status Epoch();
  Status Expect(const ScenarioWords& words);
  Result<double> Share(const YumaScenarioEpoch& epoch, std::string_view what, std::uint16_t uid);

  Result<std::uint16_t> UidOf(std::string_view name) const;
  Status ReadNeuron(const ScenarioWords& words, std::size_t from, Neuron& neuron);
  Result<WeightsPayload> PayloadOf(std::string_view who, const ScenarioWords& words,
                                   std::size_t from) const;
  WeightsSpeaker SpeakerOf(std::uint16_t uid) const;
  WeightsBook& Book();
  // A refusal waits to be expected.
  Status Took(const Status& status);
  void Said(std::uint16_t uid, const WeightsPayload& payload);

  WeightsSettings market_;
  bool scaled_ = true;
  std::optional<WeightsBook> book_;  // from the first neuron on: settings are read by then
  std::vector<Neuron> neurons_;
  std::map<std::string, WeightsPayload, std::less<>> commits_;  // by their labels
  std::uint64_t now_ = 0, last_epoch_ = 0, emission_ = 0, left_ = 0, work_ = 0;
  std::vector<YumaRow> bonds_;
  std::vector<Fixed> consensus_;
  std::optional<std::string> refused_;
  YumaScenarioReport report_;
};

WeightsBook& Market::Book() {
  if (!book_) book_.emplace(market_);
  return *book_;
}

Status Market::Took(const Status& status) {
  ++report_.requests;
  if (!status) refused_ = status.error().what;
  return {};
}

void Market::Said(std::uint16_t uid, const WeightsPayload& payload) {
  if (scaled_) return;
  YumaRow row;
  for (std::size_t i = 0; i < payload.uids.size(); ++i)
    row.push_back({payload.uids[i], payload.values[i]});
  std::ranges::sort(row, {}, &YumaEntry::uid);
  neurons_[uid].said = std::move(row);
}

Result<std::uint16_t> Market::UidOf(std::string_view name) const {
  const auto found = std::ranges::find(neurons_, name, &Neuron::name);
  if (found == neurons_.end()) return Wrong("'{}' is nobody here", name);
  return static_cast<std::uint16_t>(found - neurons_.begin());
}

WeightsSpeaker Market::SpeakerOf(std::uint16_t uid) const {
  const Neuron& n = neurons_[uid];
  return {.uid = uid, .who = ScenarioDigest(n.name), .stake = n.stake, .permit = n.permit};
}

// What stands before and after the `=` of a word.
Result<std::pair<std::string_view, std::string_view>> Pair(std::string_view word) {
  const std::size_t equals = word.find('=');
  if (equals == std::string_view::npos || equals == 0) return Wrong("'{}': KEY=VALUE", word);
  return std::pair(word.substr(0, equals), word.substr(equals + 1));
}

bool ParseWord(std::string_view text, YumaVersion& version) {
  version = text == "3" ? YumaVersion::k3 : YumaVersion::k2;
  return text == "2" || text == "3";
}
bool ParseWord(std::string_view text, YumaReference& reference) {
  reference = text == "previous" ? YumaReference::kPrevious : YumaReference::kCurrent;
  return text == "current" || text == "previous";
}
template <class T>
bool ParseWord(std::string_view text, T& value) {
  return ParseScenario(text, value);
}

Status Market::Settings(const ScenarioWords& words) {
  if (book_) return Wrong("settings stand before the first neuron");
  YumaSettings& s = report_.settings;
  for (std::size_t i = 1; i < words.size(); ++i) {
    WG_ASSIGN(const auto pair, Pair(words[i]));
    bool known = false, good = false;
    const auto field = [&](std::string_view name, auto& value) {
      if (pair.first != name) return;
      known = true;
      good = ParseWord(pair.second, value);
    };
    field("version", s.version), field("kappa", s.kappa), field("bonds_penalty", s.bonds_penalty);
    field("bonds_moving_average", s.bonds_moving_average);
    field("liquid_alpha", s.liquid_alpha), field("alpha_low", s.alpha_low);
    field("alpha_high", s.alpha_high), field("alpha_steepness", s.alpha_steepness);
    field("alpha_reference", s.alpha_reference), field("validators_max", s.validators_max);
    field("activity_cutoff", s.activity_cutoff), field("root_weight", s.root_weight);
    field("stake_min", s.stake_min), field("commit_reveal", s.commit_reveal);
    field("tempo", market_.tempo), field("rate_limit", market_.rate_limit);
    field("weights_min", market_.weights_min), field("share_max", market_.share_max);
    field("speaker_stake_min", market_.stake_min), field("reveal_after", market_.reveal_after);
    field("unrevealed_max", market_.unrevealed_max), field("scaled", scaled_);
    if (!known) return Wrong("{}: no such setting", pair.first);
    if (!good) return Wrong("{}={}: no such value", pair.first, pair.second);
  }
  if (market_.tempo == 0 || market_.tempo > kHeightMax || market_.reveal_after > kHeightMax)
    return Wrong("tempo is from 1 to {}, as is reveal_after", kHeightMax);
  market_.commit_reveal = s.commit_reveal;
  return {};
}

Status Market::ReadNeuron(const ScenarioWords& words, std::size_t from, Neuron& neuron) {
  const std::string_view name = words[from - 1];
  if (name.size() > kNameMax || name.find('=') != std::string_view::npos)
    return Wrong("'{}': a name has at most {} letters and no =", name, kNameMax);
  if (UidOf(name)) return Wrong("'{}' is here already", name);
  neuron.name = name;
  for (std::size_t i = from; i < words.size(); ++i) {
    WG_ASSIGN(const auto pair, Pair(words[i]));
    const auto [key, text] = pair;
    const bool good = key == "stake"   ? ParseScenario(text, neuron.stake)
                      : key == "root"  ? ParseScenario(text, neuron.root)
                      : key == "owner" ? ParseScenario(text, neuron.owner)
                                       : false;
    if (!good) return Wrong("{}={}: no such value, or no such key", key, text);
  }
  return {};
}

Status Market::Register(const ScenarioWords& words, bool validator) {
  if (words.size() < 2) return Wrong("{} NAME [stake=N] [root=N] [owner=yes]", words[0]);
  if (neurons_.size() == kYumaScenarioNeuronsMax)
    return Wrong("more than {} neurons", kYumaScenarioNeuronsMax);
  Neuron neuron{.permit = validator};
  WG_TRY(ReadNeuron(words, 2, neuron));
  WG_TRY(Book().Register(static_cast<std::uint16_t>(neurons_.size()), now_));
  neurons_.push_back(std::move(neuron));
  return {};
}

// A new one takes a place: what was there, its bonds with it, is gone.
Status Market::Replace(const ScenarioWords& words) {
  if (words.size() < 3) return Wrong("replace OLD NEW [stake=N] [root=N] [owner=yes]");
  WG_ASSIGN(const std::uint16_t uid, UidOf(words[1]));
  Neuron neuron;
  WG_TRY(ReadNeuron(words, 3, neuron));
  WG_TRY(Book().Register(uid, now_));
  neurons_[uid] = std::move(neuron);
  if (uid < bonds_.size()) bonds_[uid].clear();
  return {};
}

Status Market::SetStake(const ScenarioWords& words) {
  if (words.size() != 3) return Wrong("stake NAME UNITS");
  WG_ASSIGN(const std::uint16_t uid, UidOf(words[1]));
  if (!ParseScenario(words[2], neurons_[uid].stake)) return Wrong("stake NAME UNITS");
  return {};
}

Status Market::SetTime(const ScenarioWords& words) {
  std::uint64_t blocks = 0;
  if (words.size() != 2 || !ParseScenario(words[1], blocks) || blocks > kHeightMax)
    return Wrong("{} BLOCKS, at most {}", words[0], kHeightMax);
  const std::uint64_t then = words[0] == "at" ? blocks : now_ + blocks;
  if (then < now_ || then > kHeightMax) return Wrong("it is block {} already, or too late", now_);
  now_ = then;
  return {};
}

Result<WeightsPayload> Market::PayloadOf(std::string_view who, const ScenarioWords& words,
                                         std::size_t from) const {
  WeightsPayload payload{.who = ScenarioDigest(who)};
  for (std::size_t i = from; i < words.size(); ++i) {
    WG_ASSIGN(const auto pair, Pair(words[i]));
    WG_ASSIGN(payload.uids.emplace_back(), UidOf(pair.first));
    if (!ParseScenario(pair.second, payload.values.emplace_back()))
      return Wrong("{}={}: a weight is from 0 to 65535", pair.first, pair.second);
  }
  return payload;
}

Status Market::Say(const ScenarioWords& words) {
  const bool commits = words[0] == "commit";
  const std::size_t from = commits ? 3 : 2;
  if (words.size() < from)
    return Wrong("{} MINER=VALUE...", commits ? "commit NAME LABEL" : "weights NAME");
  WG_ASSIGN(const std::uint16_t uid, UidOf(words[1]));
  WG_ASSIGN(WeightsPayload payload, PayloadOf(words[1], words, from));
  if (!commits) {
    const Status set = Book().Set(SpeakerOf(uid), payload, now_);
    if (set) Said(uid, payload);
    return Took(set);
  }
  payload.salt = ScenarioDigest(words[2]);
  WG_TRY(Took(Book().Commit(SpeakerOf(uid), CommitOf(payload), now_)));
  commits_.insert_or_assign(std::string(words[2]), std::move(payload));
  return {};
}

Status Market::Reveal(const ScenarioWords& words) {
  if (words.size() != 3) return Wrong("reveal NAME LABEL");
  WG_ASSIGN(const std::uint16_t uid, UidOf(words[1]));
  const auto found = commits_.find(words[2]);
  if (found == commits_.end()) return Wrong("'{}': nobody committed to that above", words[2]);
  const Status shown = Book().Reveal(SpeakerOf(uid), found->second, now_);
  if (shown) Said(uid, found->second);
  return Took(shown);
}

// The next block that ends an epoch.
Status Market::Epoch() {
  const std::uint64_t height =
      std::max((now_ + market_.tempo - 1) / market_.tempo * market_.tempo,
               report_.epochs.empty() ? market_.tempo : last_epoch_ + market_.tempo);
  if (height > kHeightMax) return Wrong("it is too late");
  const std::size_t n = neurons_.size();
  work_ += n * n + 1;
  if (work_ > kYumaScenarioWorkMax) return Wrong("too many epochs of so many neurons");
  now_ = height;
  YumaEpoch epoch = Book().Epoch(height, last_epoch_);
  for (std::size_t i = 0; i < n; ++i) {
    epoch.neurons[i].stake = neurons_[i].stake, epoch.neurons[i].root_stake = neurons_[i].root;
    epoch.neurons[i].permit = neurons_[i].permit, epoch.neurons[i].owner = neurons_[i].owner;
    if (neurons_[i].said) epoch.weights[i] = *neurons_[i].said;
  }
  if (!bonds_.empty()) bonds_.resize(n);
  epoch.bonds = bonds_;
  if (!consensus_.empty()) consensus_.resize(n);
  epoch.previous_consensus = consensus_;
  auto outcome = RunYuma(report_.settings, epoch);
  if (!outcome) return Wrong("{}", outcome.error().what);
  YumaScenarioEpoch& done = report_.epochs.emplace_back();
  done.height = last_epoch_ = height;
  for (std::size_t i = 0; i < n; ++i) {
    done.names.push_back(neurons_[i].name);
    neurons_[i].permit = outcome->permits[i];
  }
  done.weights = std::move(epoch.weights);
  bonds_ = outcome->bonds;
  consensus_ = outcome->consensus;
  done.emission = SplitEmission(*outcome, emission_ + left_);
  left_ = done.emission.left;
  done.outcome = std::move(*outcome);
  return {};
}

Result<double> Market::Share(const YumaScenarioEpoch& epoch, std::string_view what,
                             std::uint16_t uid) {
  const YumaOutcome& o = epoch.outcome;
  const std::pair<std::string_view, const std::vector<Fixed>*> kShares[] = {
      {"stake", &o.stake},         {"active", &o.active_stake},  {"prerank", &o.prerank},
      {"rank", &o.rank},           {"consensus", &o.consensus},  {"incentive", &o.incentive},
      {"dividends", &o.dividends}, {"trust", &o.validator_trust}};
  for (const auto& [name, values] : kShares)
    if (name == what) return static_cast<double>((*values)[uid].raw) * 0x1p-32;
  return Wrong("expect {}: nothing to expect", what);
}

Status Market::Expect(const ScenarioWords& words) {
  ++report_.expectations;
  if (words.size() >= 2 && words[1] == "refused") {
    if (!refused_) return Wrong("the request before it was taken");
    std::string wanted;
    for (std::size_t i = 2; i < words.size(); ++i) wanted.append(i > 2 ? " " : "").append(words[i]);
    if (refused_->find(wanted) == std::string::npos) return Wrong("refused: {}", *refused_);
    refused_.reset();
    return {};
  }
  if (report_.epochs.empty()) return Wrong("no epoch is over");
  const YumaScenarioEpoch& epoch = report_.epochs.back();
  if (words.size() < 4) return Wrong("expect WHAT NAME [MINER] VALUE");
  WG_ASSIGN(const std::uint16_t uid, UidOf(words[2]));
  if (uid >= epoch.names.size()) return Wrong("{} came after the epoch", words[2]);
  if (words[1] == "permit") {
    bool permit = false;
    if (!ParseScenario(words[3], permit)) return Wrong("permit: yes or no");
    if (permit != epoch.outcome.permits[uid]) return Wrong("it is {}", permit ? "no" : "yes");
    return {};
  }
  const bool bond = words[1] == "bond";
  if (words.size() != (bond ? 5u : 4u)) return Wrong("expect WHAT NAME [MINER] VALUE");
  if (bond || words[1] == "miner" || words[1] == "validator") {
    std::uint64_t value = 0, is = 0;
    if (!ParseScenario(words.back(), value)) return Wrong("'{}' is no number", words.back());
    if (bond) {
      WG_ASSIGN(const std::uint16_t miner, UidOf(words[3]));
      for (const YumaEntry& entry : epoch.outcome.bonds[uid])
        if (entry.uid == miner) is = entry.value;
    } else {
      is = words[1] == "miner" ? epoch.emission.miner[uid] : epoch.emission.validator[uid];
    }
    if ((is > value ? is - value : value - is) > kUnitsOff) return Wrong("it is {}", is);
    return {};
  }
  WG_ASSIGN(const double is, Share(epoch, words[1], uid));
  double value = 0;
  const std::string_view text = words[3];
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || !std::isfinite(value))
    return Wrong("'{}' is no number", text);
  if (std::fabs(is - value) > kTolerance) return Wrong("it is {:.9f}", is);
  return {};
}

Status Market::Line(const ScenarioWords& words) {
  const std::string_view what = words[0];
  if (what == "expect") return Expect(words);
  if (refused_) return Wrong("the request before this line was refused: {}", *refused_);
  if (what == "settings") return Settings(words);
  if (what == "validator" || what == "miner") return Register(words, what == "validator");
  if (what == "replace") return Replace(words);
  if (what == "stake") return SetStake(words);
  if (what == "at" || what == "wait") return SetTime(words);
  if (what == "weights" || what == "commit") return Say(words);
  if (what == "reveal") return Reveal(words);
  if (what == "emission") {
    if (words.size() != 2 || !ParseScenario(words[1], emission_) || emission_ > kHeightMax << 20)
      return Wrong("emission UNITS, at most {}", kHeightMax << 20);
    return {};
  }
  if (what == "epoch" && words.size() == 1) return Epoch();
  return Wrong("'{}': no such line", what);
}

Status Market::End() const {
  if (refused_) return Wrong("the last request was refused: {}", *refused_);
  return {};
}

YumaScenarioReport Market::TakeReport() { return std::move(report_); }

Result<ScenarioWords> WordsOf(std::string_view line) {
  ScenarioWords words;
  line = line.substr(0, line.find('#'));
  constexpr std::string_view kBlanks = " \t\r";
  for (std::size_t at = line.find_first_not_of(kBlanks); at != std::string_view::npos;
       at = line.find_first_not_of(kBlanks, at)) {
    const std::size_t end = std::min(line.find_first_of(kBlanks, at), line.size());
    if (words.size() == kWordsMax) return Wrong("more than {} words", kWordsMax);
    words.push_back(line.substr(at, end - at));
    at = end;
  }
  return words;
}

}  // namespace

Result<YumaScenarioReport> RunYumaScenario(std::string_view text, const std::string& name) {
  if (text.size() > kYumaScenarioBytesMax)
    return Wrong("{}: more than {} bytes", name, kYumaScenarioBytesMax);
  Market market;
  std::size_t number = 0;
  while (!text.empty()) {
    if (++number > kLinesMax) return Wrong("{}: more than {} lines", name, kLinesMax);
    const std::size_t end = std::min(text.find('\n'), text.size());
    const auto words = WordsOf(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    Status done = words ? Status{} : Status(Forward(words.error()));
    if (words && !words->empty()) done = market.Line(*words);
    if (!done) return Wrong("{}:{}: {}", name, number, done.error().what);
  }
  if (const Status done = market.End(); !done) return Wrong("{}: {}", name, done.error().what);
  return market.TakeReport();
}

}  // namespace waggle
