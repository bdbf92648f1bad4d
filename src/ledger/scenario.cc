#include "ledger/scenario.h"

#include <algorithm>
#include <functional>

#include "crypto/keccak.h"
#include "ledger/balance_tree.h"
#include "ledger/log.h"
#include "ledger/scenario_args.h"

namespace waggle {
namespace {

constexpr std::string_view kNobody = "nobody";
constexpr std::size_t kLinesMax = 20'000, kWordsMax = 128;

Digest256 Labelled(std::string_view domain, std::string_view text) {
  const std::string both = std::string(domain) + std::string(text);
  return Keccak256({reinterpret_cast<const std::uint8_t*>(both.data()), both.size()});
}

std::string Hex(const Digest256& digest) { return "0x" + ToHex(digest); }

class Runner {
 public:
  Runner() : replay_({"scenario", names_.Key("sequencer").id(), names_.Key("bridge").id()}) {}

  Status Line(const ScenarioWords& words);
  Status End();
  ScenarioReport TakeReport();

 private:
  Status Give(const ScenarioWords& words);
  Status SetTerms(const ScenarioWords& words);
  Status SetTime(const ScenarioWords& words);
  Status Request(const ScenarioWords& words);
  Result<LedgerBody> Body(std::string_view kind, ScenarioArgs& args);
  template <std::size_t kIndex = 0>
  LedgerBody Empty(std::size_t index) const;
  Status Submit(std::string_view author, LedgerBody body, ScenarioArgs& args);
  Status Expect(const ScenarioWords& words);
  Status ExpectEvent(const ScenarioWords& words, bool wanted);
  Result<std::string> Value(const ScenarioWords& words);
  Result<std::string> OfRun(std::string_view what, const ScenarioWords& words);
  Result<std::string> OfMember(std::string_view what, const ScenarioWords& words);
  Result<std::string> OfBatch(std::string_view what, const ScenarioWords& words);
  std::string Told(const LedgerEvent& event) const;

  ScenarioNames names_;
  std::map<std::string, RunTerms, std::less<>> terms_;
  LedgerReplay replay_;
  std::uint64_t now_ms_ = 0;
  LedgerEvents last_;
  std::optional<LedgerRefused> refused_;  // by the last request, and not expected yet
  ScenarioReport report_;
};

// Everything that is wrong with a scenario is its writer's to mend.
template <class... Args>
auto Wrong(fmt::format_string<Args...> format, Args&&... args) {
  return Fail(Blame::kOperator, format, std::forward<Args>(args)...);
}

template <std::size_t kIndex>
LedgerBody Runner::Empty(std::size_t index) const {
  if constexpr (kIndex + 1 < std::variant_size_v<LedgerBody>) {
    if (index != kIndex) return Empty<kIndex + 1>(index);
  }
  return std::variant_alternative_t<kIndex, LedgerBody>{};
}

Result<LedgerBody> Runner::Body(std::string_view kind, ScenarioArgs& args) {
  const auto kinds = LedgerBodyNames();
  const auto found = std::ranges::find(kinds, kind);
  if (found == kinds.end()) return Wrong("'{}' is no request", kind);
  LedgerBody body = Empty(static_cast<std::size_t>(found - kinds.begin()));
  if (auto* open = std::get_if<OpenRun>(&body)) {
    if (const auto name = args.Take("terms")) {
      const auto terms = terms_.find(*name);
      if (terms == terms_.end()) return Wrong("terms={}: no such terms above", *name);
      open->terms = terms->second;
    }
  }
  const auto secret =
      std::holds_alternative<BeaconCommit>(body) ? args.Take("secret") : std::nullopt;
  CanaryReveal canary;
  if (std::holds_alternative<CanaryCommit>(body)) {
    args(0, "worker", canary.worker);
    args(0, "salt", canary.salt);
    args(0, "bad", canary.bad);
  }
  std::visit([&](auto& request) { Fields(request, args); }, body);
  if (auto* commit = std::get_if<BeaconCommit>(&body); commit != nullptr && secret) {
    Digest256 digest{};
    if (!ParseScenario(*secret, digest)) return Wrong("secret={}: no such value", *secret);
    const std::string author(args.Take("secret-of").value_or(kNobody));
    NodeId validator;
    if (!names_.Find(author, validator)) return Wrong("secret-of={}: no name", author);
    commit->hash = BeaconHash(commit->run, commit->epoch, validator, digest);
  }
  if (auto* plant = std::get_if<CanaryCommit>(&body); plant && canary.worker != NodeId{})
    plant->hash = CanaryHash(plant->run, plant->epoch, canary.worker, canary.salt, canary.bad);
  const auto full = [](BatchClaim& claim) {
    if (claim.work.rollouts == 0) claim.work.rollouts = claim.items;
    if (claim.work.rollout_weight == 0)
      claim.work.rollout_weight = std::uint64_t{claim.work.rollouts} * kWhole.value;
  };
  const auto sign = [&](const BatchClaim& claim, const std::string& field) {
    const std::string signer = args.SignerOf(field, names_.NameOf(claim.worker));
    NodeId known;
    if (!names_.Find(signer, known)) args.Fault(fmt::format("{}={}: no name", field, signer));
    return SignBatch(names_.Key(known == NodeId{} ? "nobody" : signer), replay_.ledger().id(),
                     claim);
  };
  if (auto* commit = std::get_if<CommitBatch>(&body)) {
    full(commit->claim);
    commit->worker_signature = sign(commit->claim, "worker_signature");
  } else if (auto* twice = std::get_if<Equivocation>(&body)) {
    full(twice->first), full(twice->second);
    twice->first_signature = sign(twice->first, "first_signature");
    twice->second_signature = sign(twice->second, "second_signature");
  }
  return body;
}

Status Runner::Submit(std::string_view author, LedgerBody body, ScenarioArgs& args) {
  Ledger& ledger = replay_.ledger();
  NodeId id;
  if (!names_.Find(author, id)) return Wrong("'{}' is no name", author);
  LedgerId signed_for = ledger.id();
  std::uint64_t nonce = ledger.NonceOf(id), sequence = ledger.state().sequence + 1, at = now_ms_;
  const auto other = args.Take("ledger");
  if (other) signed_for.value = ScenarioDigest(*other);
  const std::string signer(args.Take("signed-by").value_or(author));
  NodeId known;
  if (!names_.Find(signer, known)) return Wrong("signed-by={}: no name", signer);
  args(0, "nonce", nonce);
  args(0, "sequence", sequence);
  args(0, "entry_ms", at);
  if (const std::string problem = args.Problem(); !problem.empty()) return Wrong("{}", problem);
  LedgerRequest request{id, nonce, std::move(body), {}};
  request.signature = names_.Key(signer).Sign(kRequestDomain, RequestMessage(signed_for, request));
  const LedgerEntry entry{sequence, at, std::move(request)};
  const Bytes bytes = Encode(entry);
  const auto again = DecodeEntry(bytes);
  if (!again || *again != entry) return Fail(Blame::kBug, "an entry does not read back");
  ++report_.requests;
  LedgerOutcome outcome = ledger.Apply(entry);
  last_.clear();
  if (!outcome) {
    refused_ = std::move(outcome.error());
    return {};
  }
  replay_.Advance(bytes);
  LedgerHead head = replay_.Head();
  if (WantsRoot(entry.request.body)) head.root = ledger.Root();
  SignHead(names_.Key("sequencer"), head);
  report_.log.push_back({bytes, head.root, head.signature});
  last_ = std::move(*outcome);
  report_.kinds.insert(NameOf(entry.request.body));
  for (const LedgerEvent& event : last_) report_.events.insert(event.kind);
  if (TotalOf(ledger.state()) != ledger.state().supply)
    return Fail(Blame::kBug, "{} of money exist, {} came in", ToText(TotalOf(ledger.state())),
                ToText(ledger.state().supply));
  return {};
}

Status Runner::Give(const ScenarioWords& words) {
  Deposit deposit;
  if (words.size() != 3 || !names_.Find(words[1], deposit.to) ||
      !ParseScenario(words[2], deposit.amount))
    return Wrong("give NAME AMOUNT");
  ScenarioArgs none({}, names_);
  return Submit("bridge", deposit, none);
}

Status Runner::SetTerms(const ScenarioWords& words) {
  if (words.size() < 2) return Wrong("terms NAME key=value...");
  RunTerms terms;
  ScenarioArgs args(ScenarioWords(words.begin() + 2, words.end()), names_);
  if (const auto base = args.Take("like")) {
    const auto found = terms_.find(*base);
    if (found == terms_.end()) return Wrong("like={}: no such terms above", *base);
    terms = found->second;
  }
  Fields(terms, args);
  if (const std::string problem = args.Problem(); !problem.empty()) return Wrong("{}", problem);
  terms_.insert_or_assign(std::string(words[1]), terms);
  return {};
}

Status Runner::SetTime(const ScenarioWords& words) {
  std::uint64_t ms = 0;
  if (words.size() != 2 || !ParseScenarioTime(words[1], ms)) return Wrong("{} TIME", words[0]);
  now_ms_ = words[0] == "at" ? ms : now_ms_ + ms;
  return {};
}

Status Runner::Request(const ScenarioWords& words) {
  if (words.size() < 2) return Wrong("'{}': no such line", words[0]);
  NodeId author;
  if (!names_.Find(words[0], author)) return Wrong("'{}' is no name", words[0]);
  ScenarioWords rest(words.begin() + 2, words.end());
  const std::string secret_of = "secret-of=" + std::string(words[0]);
  const bool beacon =
      words[1] == "beacon-commit" &&
      std::ranges::any_of(rest, [](std::string_view word) { return word.starts_with("secret="); });
  if (beacon) rest.push_back(secret_of);
  ScenarioArgs args(rest, names_);
  WG_ASSIGN(LedgerBody body, Body(words[1], args));
  return Submit(words[0], std::move(body), args);
}

std::string Runner::Told(const LedgerEvent& event) const {
  return fmt::format("{} who={} other={} amount={} number={}", ToString(event.kind),
                     names_.NameOf(event.who), names_.NameOf(event.other), ToText(event.amount),
                     event.number);
}

Status Runner::ExpectEvent(const ScenarioWords& words, bool wanted) {
  if (words.size() < 3) return Wrong("expect {} KIND key=value...", words[1]);
  ScenarioArgs args(ScenarioWords(words.begin() + 3, words.end()), names_);
  const auto who = args.Take("who"), other = args.Take("other"), amount = args.Take("amount"),
             number = args.Take("number");
  if (const std::string problem = args.Problem(); !problem.empty()) return Wrong("{}", problem);
  std::string seen;
  for (const LedgerEvent& event : last_) {
    seen += "\n  " + Told(event);
    if (ToString(event.kind) != words[2]) continue;
    NodeId node;
    if (who && !(names_.Find(*who, node) && node == event.who)) continue;
    if (other && !(names_.Find(*other, node) && node == event.other)) continue;
    if (amount && ToText(event.amount) != *amount) continue;
    if (number && std::to_string(event.number) != *number) continue;
    if (wanted) return {};
    return Wrong("there is such an event:{}", seen);
  }
  if (!wanted) return {};
  return Wrong("there is no such event; there are{}", seen.empty() ? " none" : seen);
}

Result<std::string> Runner::OfMember(std::string_view what, const ScenarioWords& words) {
  LedgerRun run;
  NodeId node;
  if (words.size() != 5 || !ParseScenario(words[2], run.value) || !names_.Find(words[3], node))
    return Wrong("expect {} RUN NAME VALUE", what);
  const Ledger& ledger = replay_.ledger();
  if (what == "withheld") return ToText(ledger.WithheldOf(run, node));
  const RunMember* found = ledger.MemberOf(run, node);
  const RunMember member = found == nullptr ? RunMember{} : *found;
  if (what == "stake") return ToText(member.AtStake());
  if (what == "active") return ToText(member.active);
  if (what == "vesting") return ToText(member.vesting - member.vested);
  if (what == "frozen") return std::to_string(member.frozen);
  if (what == "unsettled") return std::to_string(member.unsettled);
  const LedgerRunState* state = ledger.FindRun(run);
  return std::string(state != nullptr && state->validators.contains(node) ? "yes" : "no");
}

Result<std::string> Runner::OfRun(std::string_view what, const ScenarioWords& words) {
  LedgerRun run;
  if (words.size() != 4 || !ParseScenario(words[2], run.value))
    return Wrong("expect {} RUN VALUE", what);
  const LedgerRunState* state = replay_.ledger().FindRun(run);
  if (state == nullptr) return Wrong("no such run");
  if (what == "budget") return ToText(state->budget);
  if (what == "insurance") return ToText(state->insurance);
  if (what == "price") return ToText(state->price);
  if (what == "total-stake") return ToText(state->total_stake);
  if (what == "settled") return std::to_string(state->settled);
  return std::to_string(state->epoch);
}

Result<std::string> Runner::OfBatch(std::string_view what, const ScenarioWords& words) {
  LedgerRun run;
  std::uint64_t epoch = 0;
  NodeId worker;
  if (words.size() != 6 || !ParseScenario(words[2], run.value) || !ParseScenario(words[3], epoch) ||
      !names_.Find(words[4], worker))
    return Wrong("expect {} RUN EPOCH WORKER VALUE", what);
  const LedgerBatch* batch = replay_.ledger().BatchOf(run, epoch, worker);
  if (batch == nullptr) return std::string("none");
  if (what == "pay") return ToText(batch->pay);
  if (what == "chance") return std::to_string(batch->chance.value);
  if (what == "audited") return std::string(batch->audited ? "yes" : "no");
  std::string list;
  if (what == "items") {
    if (batch->audited_whole) return std::string("all");
    for (const std::uint32_t item : batch->items)
      list += (list.empty() ? "" : ",") + std::to_string(item);
  } else {
    for (const AuditorSeat& seat : batch->auditors)
      list += (list.empty() ? "" : ",") + names_.NameOf(seat.validator);
  }
  return list.empty() ? "none" : list;
}

Result<std::string> Runner::Value(const ScenarioWords& words) {
  const std::string_view what = words[1];
  const Ledger& ledger = replay_.ledger();
  for (const std::string_view known :
       {"stake", "active", "vesting", "frozen", "unsettled", "withheld", "validator"}) {
    if (what == known) return OfMember(what, words);
  }
  for (const std::string_view known :
       {"budget", "insurance", "price", "total-stake", "settled", "epoch"}) {
    if (what == known) return OfRun(what, words);
  }
  for (const std::string_view known : {"pay", "chance", "audited", "items", "auditors"}) {
    if (what == known) return OfBatch(what, words);
  }
  if (what == "balance" || what == "earned") {
    NodeId node;
    if (words.size() != 4 || !names_.Find(words[2], node))
      return Wrong("expect {} NAME AMOUNT", what);
    const LedgerAccount* account = ledger.AccountOf(node);
    const LedgerAccount known = account == nullptr ? LedgerAccount{} : *account;
    return ToText(what == "balance" ? known.balance : known.earned);
  }
  if (words.size() != 3) return Wrong("expect {} VALUE", what);
  if (what == "burned") return ToText(ledger.state().burned);
  if (what == "treasury") return ToText(ledger.state().treasury);
  if (what == "supply") return ToText(ledger.state().supply);
  if (what == "root") return Hex(ledger.Root());
  if (what == "chain") return Hex(replay_.chain());
  if (what == "balances-root" || what == "earned-root") {
    const TreeOf tree = what == "earned-root" ? TreeOf::kEarned : TreeOf::kBalances;
    if (ledger.state().accounts.empty()) return std::string("none");
    return Hex(BalanceTree(LeavesOf(ledger.state(), tree)).root());
  }
  return Wrong("expect {}: nothing to expect", what);
}

Status Runner::Expect(const ScenarioWords& words) {
  ++report_.expectations;
  if (words.size() < 3) return Wrong("expect WHAT ... VALUE");
  if (words[1] == "refused") {
    if (!refused_) return Wrong("the request was taken");
    if (ToString(refused_->why) != words[2])
      return Wrong("refused with {}: {}", ToString(refused_->why), refused_->what);
    report_.refusals.insert(refused_->why);
    refused_.reset();
    return {};
  }
  if (words[1] == "event" || words[1] == "no-event") return ExpectEvent(words, words[1] == "event");
  WG_ASSIGN(const std::string value, Value(words));
  if (value == words.back()) return {};
  return Wrong("it is {}", value);
}

Status Runner::Line(const ScenarioWords& words) {
  const bool expects_refusal = words.size() > 1 && words[0] == "expect" && words[1] == "refused";
  if (!expects_refusal) WG_TRY(End());
  if (words[0] == "expect") return Expect(words);
  if (words[0] == "give") return Give(words);
  if (words[0] == "terms") return SetTerms(words);
  if (words[0] == "at" || words[0] == "wait") return SetTime(words);
  return Request(words);
}

Status Runner::End() {
  if (!refused_) return {};
  const LedgerRefused refused = *std::exchange(refused_, std::nullopt);
  return Wrong("the request before this line was refused with {}: {}", ToString(refused.why),
               refused.what);
}

ScenarioReport Runner::TakeReport() {
  report_.root = replay_.ledger().Root();
  report_.chain = replay_.chain();
  report_.genesis = replay_.ledger().genesis();
  return std::move(report_);
}

ScenarioWords WordsOf(std::string_view line) {
  line = line.substr(0, line.find('#'));
  ScenarioWords words;
  for (std::size_t at = 0; words.size() <= kWordsMax;) {
    at = line.find_first_not_of(" \t\r", at);
    if (at == std::string_view::npos) break;
    const std::size_t end = std::min(line.find_first_of(" \t\r", at), line.size());
    words.push_back(line.substr(at, end - at));
    at = end;
  }
  return words;
}

}  // namespace

KeyPair ScenarioKey(std::string_view name) {
  return KeyPair::FromSeed(Labelled("waggle-scenario-key-1", name));
}
Digest256 ScenarioDigest(std::string_view label) {
  return Labelled("waggle-scenario-digest-1", label);
}

Result<ScenarioReport> RunScenario(std::string_view text, const std::string& name) {
  if (text.size() > kScenarioBytesMax) return Wrong("{}: more than 1 MiB", name);
  Runner runner;
  for (std::size_t number = 1; !text.empty(); ++number) {
    if (number > kLinesMax) return Wrong("{}: more than {} lines", name, kLinesMax);
    const std::size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    const ScenarioWords words = WordsOf(line);
    if (words.size() > kWordsMax) return Wrong("{}:{}: more than 128 words", name, number);
    if (words.empty()) continue;
    if (Status done = runner.Line(words); !done)
      return Fail(done.error().blame, "{}:{}: {}\n  {}", name, number, done.error().what, line);
  }
  if (Status done = runner.End(); !done)
    return Fail(done.error().blame, "{}: {}", name, done.error().what);
  return runner.TakeReport();
}

}  // namespace waggle
