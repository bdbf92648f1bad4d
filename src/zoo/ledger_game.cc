#include "zoo/ledger_game.h"

#include <algorithm>
#include <map>
#include <set>

#include "base/check.h"
#include "base/philox.h"
#include "crypto/keccak.h"
#include "ledger/audit.h"
#include "zoo/zoo_run.h"

namespace waggle {
namespace {

constexpr std::uint64_t kTick = 61'000;  // ms
constexpr int kSplitKeys = 4;
constexpr std::uint32_t kOneIn = 8;  // of kMadeUpSome

Digest256 DigestOf(std::string_view text) {
  return Keccak256({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
}
Credits Units(std::int64_t units) { return Credits{units * kCreditsPerUnit}; }
bool Colludes(Conduct conduct) {
  return conduct == Conduct::kColludes || conduct == Conduct::kColludesTwo;
}
bool IsValidator(Conduct conduct) { return conduct >= Conduct::kHonestValidator; }

// One game: its ledger, its people, and what each of them did.
class Game {
 public:
  Game(Conduct conduct, const GameRules& rules, std::uint64_t seed)
      : conduct_(conduct),
        rules_(rules),
        seed_(seed),
        partner_(TwinOf(conduct) == Conduct::kHonestPair),
        signs_(conduct == Conduct::kEquivocates),
        ledger_({"zoo", Id("sequencer"), Id("bridge")},
                signs_ ? SignatureCheck(Verify) : SignatureCheck(TrustSignatures)) {}

  void Play();
  // Of the adversary's side.
  double Profit() const;
  std::uint64_t first_caught() const { return first_caught_; }  // epochs it took; 0: never
  const std::set<std::string>& found() const { return found_; }

 private:
  const KeyPair& Key(const std::string& name) {
    const auto known = keys_.find(name);
    return known != keys_.end() ? known->second : keys_.emplace(name, ZooKey(name)).first->second;
  }
  NodeId Id(const std::string& name) { return Key(name).id(); }
  bool Ask(const std::string& who, LedgerBody body);
  Signature Sign(const std::string& worker, const BatchClaim& claim) {
    return signs_ ? SignBatch(Key(worker), ledger_.id(), claim) : Signature{};
  }
  void Must(const std::string& who, LedgerBody body) {
    const std::string name(NameOf(body));
    if (!Ask(who, std::move(body))) Fatal(who + " " + name + ": " + refused_);
  }
  [[noreturn]] static void Fatal(const std::string& what) {
    Check(false, what);
    std::abort();
  }

  void Open();
  void Epoch(std::uint64_t number);
  void Commit(const std::string& worker, std::uint64_t epoch, std::uint32_t items,
              std::uint32_t staleness);
  void AdversaryWorks(std::uint64_t epoch);
  void AfterSeal(std::uint64_t epoch);
  void Verdicts();
  Finding Truth(const BatchClaim& claim, const AuditDuty& duty) const;
  void Contests(std::uint64_t epoch);
  void SettleAll();
  void Punished(const LedgerEvent& event);
  bool Ours(const NodeId& node) const { return ours_.contains(node); }
  void Pay(Credits cost) { cost_ += cost; }

  const Conduct conduct_;
  const GameRules& rules_;
  const std::uint64_t seed_;
  const bool partner_;  // a validator is on its side
  const bool signs_;    // where the game is about signatures; else they cost time and show nothing
  std::map<std::string, KeyPair> keys_;
  Ledger ledger_;
  const LedgerRun run_{DigestOf("the zoo's run")};
  std::uint64_t now_ms_ = 1'000'000;
  std::string refused_;

  std::vector<std::string> honest_{"ann", "bob", "cid"}, validators_{"val1", "val2", "val3"};
  std::set<NodeId> ours_;           // every key that the adversary ever had
  std::string name_ = "mallory-0";  // the one of now
  std::uint64_t lives_ = 0, epoch_ = 0, first_caught_ = 0;
  Credits given_, cost_;
  bool late_pending_ = false;
  std::set<std::string> found_;
};

bool Game::Ask(const std::string& who, LedgerBody body) {
  const NodeId id = Id(who);
  LedgerRequest request{id, ledger_.NonceOf(id), std::move(body), {}};
  if (signs_) request = SignRequest(Key(who), ledger_.id(), request.nonce, std::move(request.body));
  LedgerOutcome outcome = ledger_.Apply(ledger_.Next(now_ms_, std::move(request)));
  if (!outcome) {
    refused_ = outcome.error().what;
    return false;
  }
  for (const LedgerEvent& event : *outcome) Punished(event);
  return true;
}

// Events that hurt the adversary, in the order in which it happened.
void Game::Punished(const LedgerEvent& event) {
  using Kind = LedgerEventKind;
  const bool hurts = event.kind == Kind::kPayForfeited || event.kind == Kind::kExpelled ||
                     event.kind == Kind::kCanaryMissed || event.kind == Kind::kBeaconForfeited ||
                     event.kind == Kind::kPayUnspent || event.kind == Kind::kJailed ||
                     event.kind == Kind::kSlashed || event.kind == Kind::kSuspected;
  if (!hurts || !Ours(event.who)) return;
  found_.insert(std::string(ToString(event.kind)));
  if (first_caught_ == 0) first_caught_ = event.epoch + 1;
  const bool worker_is_out = !IsValidator(conduct_) &&
                             (event.kind == Kind::kPayForfeited || event.kind == Kind::kExpelled);
  // The host takes nothing more from a key that was proved to lie: a new one costs nothing.
  if (!worker_is_out || (event.who != Id(name_) && conduct_ != Conduct::kSplits)) return;
  name_ = "mallory-" + std::to_string(++lives_);
  ours_.insert(Id(name_));
}

void Game::Open() {
  RunTerms terms = rules_.terms;
  terms.orchestrator = Id("orchestrator");
  terms.trainer = Id("trainer");
  terms.referees = {Id("referee")};
  terms.quorum = 1;
  if (conduct_ == Conduct::kColludesTwo) terms.auditors = 2;
  const auto give = [&](const std::string& who, Credits amount) {
    Must("bridge", Deposit{Id(who), amount, {}});
    if (Ours(Id(who))) given_ += amount;
  };
  if (IsValidator(conduct_)) {
    ours_.insert(Id("val1"));
  } else {
    ours_.insert(Id(name_));
    if (partner_) ours_.insert(Id("val1"));
  }
  give("sponsor", Units(1'000'000));
  Must("sponsor", OpenRun{run_, terms});
  Must("sponsor", LockBudget{run_, rules_.budget});
  for (const std::string& worker : honest_) give(worker, Units(50));
  for (const std::string& validator : validators_) {
    give(validator, Units(200));
    Must(validator, Stake{run_, Units(100)});
    Must(validator, JoinValidators{run_});
  }
}

void Game::Commit(const std::string& worker, std::uint64_t epoch, std::uint32_t items,
                  std::uint32_t staleness) {
  BatchClaim claim{
      run_,       epoch,
      Id(worker), DigestOf(worker + std::to_string(seed_) + "/" + std::to_string(epoch)),
      items,      {}};
  for (std::uint32_t i = 0; i < items * rules_.rollouts; ++i)
    claim.work.Add(rules_.terms, rules_.tokens / rules_.rollouts, staleness);
  const Signature signature = Sign(worker, claim);
  // Who is in jail cannot hand in what it has.
  if (!Ask("orchestrator", CommitBatch{claim, signature}))
    return Check(Ours(Id(worker)), "honest batches are taken: " + refused_);
  if (conduct_ != Conduct::kEquivocates || worker != name_) return;
  BatchClaim second = claim;
  second.root = DigestOf("another story of the same epoch");
  const Signature also = Sign(worker, second);
  Must("ann", Equivocation{claim, signature, second, also});
}

void Game::AdversaryWorks(std::uint64_t epoch) {
  const Credits c = rules_.work_cost, k = rules_.cheat_cost;
  const auto times = [](Credits one, std::uint64_t n) {
    return Credits{one.value * static_cast<std::int64_t>(n)};
  };
  const std::uint32_t n = rules_.items;
  switch (conduct_) {
    case Conduct::kMadeUp:
    case Conduct::kColludes:
    case Conduct::kColludesTwo:
      Pay(times(k, n));
      return Commit(name_, epoch, n, 0);
    case Conduct::kMadeUpSome:
      Pay(times(c, n - n / kOneIn) + times(k, n / kOneIn));
      return Commit(name_, epoch, n, 0);
    case Conduct::kSplits:
      Pay(times(k, n));
      for (int i = 0; i < kSplitKeys; ++i) {
        const std::string part = "split" + std::to_string(i) + "-" + std::to_string(lives_);
        ours_.insert(Id(part));
        Commit(part, epoch, n / kSplitKeys, 0);
      }
      return;
    case Conduct::kWithholds:
      return Commit(name_, epoch, n, 0);
    case Conduct::kStale:
      Pay(times(c, n));
      return Commit(name_, epoch, n, 1);
    case Conduct::kTwice:
      Pay(times(c, 2 * n));
      return Commit(name_, epoch, n, 0);
    case Conduct::kLate:
      // What it was too late with last time goes into this batch, a version older.
      Pay(times(c, n));
      if (late_pending_) Commit(name_, epoch, n, 1);
      late_pending_ = true;
      return;
    case Conduct::kHonest:
    case Conduct::kHonestPair:
    case Conduct::kUnlikely:
    case Conduct::kEquivocates:
      Pay(times(c, n));
      return Commit(name_, epoch, n, 0);
    default:
      return Commit("dan", epoch, n, 0);  // the place of a worker, in games of validators
  }
}

// Late: it tries, once the seal has told everybody that no batch is taken any more.
void Game::AfterSeal(std::uint64_t epoch) {
  if (conduct_ != Conduct::kLate) return;
  BatchClaim claim{run_, epoch, Id(name_), DigestOf("late"), rules_.items, {}};
  claim.work.Add(rules_.terms, 1, 0);
  const Signature signature = Sign(name_, claim);
  Check(!Ask("orchestrator", CommitBatch{claim, signature}), "a sealed epoch takes no batch");
  found_.insert("refused: " + refused_);
  if (first_caught_ == 0) first_caught_ = epoch + 1;
}

// What an honest examination of the drawn items finds.
Finding Game::Truth(const BatchClaim& claim, const AuditDuty& duty) const {
  if (claim.worker == keys_.at("canary").id()) return Finding::kWrong;
  if (!Ours(claim.worker) || IsValidator(conduct_)) return Finding::kAccepted;
  switch (conduct_) {
    case Conduct::kMadeUp:
    case Conduct::kSplits:
    case Conduct::kColludes:
    case Conduct::kColludesTwo:
      return Finding::kWrong;
    case Conduct::kMadeUpSome:
      return duty.whole || std::ranges::any_of(duty.items, [](auto i) { return i % kOneIn == 3; })
                 ? Finding::kWrong
                 : Finding::kAccepted;
    case Conduct::kUnlikely:
      return Finding::kStatistical;
    case Conduct::kWithholds:
      return Finding::kUnavailable;
    default:
      return Finding::kAccepted;
  }
}

void Game::Verdicts() {
  for (const std::string& validator : validators_) {
    const bool bad = Ours(Id(validator));
    for (const AuditDuty& duty : ledger_.DutiesOf(run_, Id(validator))) {
      Finding finding = Truth(duty.claim, duty);
      const bool friends = Colludes(conduct_) && Ours(duty.claim.worker);
      const bool works = conduct_ != Conduct::kLazy && !friends;
      if (bad && !works) finding = Finding::kAccepted;
      if (bad && conduct_ == Conduct::kFalseAccuser && finding == Finding::kAccepted)
        finding = Finding::kWrong;
      if (bad && works) {
        const auto items = duty.whole ? duty.claim.items : duty.items.size();
        Pay(Credits{rules_.check_cost.value * static_cast<std::int64_t>(items)});
      }
      Must(validator, GiveVerdict{run_, duty.epoch, duty.claim.worker, finding, 0,
                                  DigestOf("evidence"), DigestOf("activation")});
    }
  }
}

// Whoever is accused falsely says so, and the referee decides the evidence file.
void Game::Contests(std::uint64_t epoch) {
  if (conduct_ != Conduct::kFalseAccuser) return;
  for (const char* worker : {"ann", "bob", "cid", "dan"}) {
    const LedgerBatch* batch = ledger_.BatchOf(run_, epoch, Id(worker));
    if (batch == nullptr || batch->Worst() != Finding::kWrong) continue;
    Must(worker, Contest{run_, epoch, DigestOf("the group holds")});
    const std::uint64_t dispute = ledger_.BatchOf(run_, epoch, Id(worker))->disputes.back();
    Must("referee", Resolve{dispute, false, DigestOf("not proved")});
  }
}

void Game::SettleAll() {
  for (const std::uint64_t epoch : ledger_.SettleableEpochs(run_, now_ms_)) {
    const LedgerBatch* canary = ledger_.BatchOf(run_, epoch, Id("canary"));
    if (canary != nullptr) {
      const Digest256 salt = DigestOf("salt" + std::to_string(epoch));
      Ask("orchestrator", CanaryReveal{run_, epoch, Id("canary"), salt, true});
    }
    Must("ann", SettleEpoch{run_, epoch});
  }
}

void Game::Epoch(std::uint64_t number) {
  epoch_ = number;
  const auto secret = [&](const std::string& who) {
    return DigestOf(who + "'s secret " + std::to_string(seed_) + " " + std::to_string(number));
  };
  const LedgerRunState& run = *ledger_.FindRun(run_);
  std::vector<std::string> seats;
  for (const std::string& validator : validators_) {
    if (!run.validators.contains(Id(validator))) continue;
    seats.push_back(validator);
    Must(validator,
         BeaconCommit{run_, number, BeaconHash(run_, number, Id(validator), secret(validator))});
  }
  for (const std::string& worker : honest_) Commit(worker, number, rules_.items, 0);
  AdversaryWorks(number);
  if (IsValidator(conduct_)) {
    Must("orchestrator", CanaryCommit{run_, number,
                                      CanaryHash(run_, number, Id("canary"),
                                                 DigestOf("salt" + std::to_string(number)), true)});
    Commit("canary", number, rules_.items, 0);
  }
  Must("orchestrator", SealEpoch{run_, number});
  AfterSeal(number);
  for (const std::string& validator : seats) {
    if (conduct_ == Conduct::kKeepsSecret && Ours(Id(validator))) continue;
    Must(validator, BeaconReveal{run_, number, secret(validator)});
  }
  if (conduct_ == Conduct::kKeepsSecret) now_ms_ += rules_.terms.reveal_ms + 1;
  Must("ann", BeaconClose{run_, number});
  Verdicts();
  Contests(number);
  now_ms_ += 2 * kTick;
  SettleAll();
}

void Game::Play() {
  Id("canary");
  Id("dan");
  Open();
  Must("bridge", Deposit{Id("dan"), Units(50), {}});
  for (std::uint64_t e = 0; e < rules_.epochs; ++e) Epoch(e);
  // Nobody works any more: what is withheld is decided.
  for (std::uint64_t e = 0; e <= rules_.terms.dispute_epochs; ++e) {
    Must("orchestrator", SealEpoch{run_, rules_.epochs + e});
    now_ms_ += 2 * kTick;
    SettleAll();
  }
  Check(TotalOf(ledger_.state()) == ledger_.state().supply, "money is neither made nor lost");
}

double Game::Profit() const {
  Credits wealth;
  for (const NodeId& node : ours_) {
    wealth += ledger_.BalanceOf(node) + ledger_.WithheldOf(run_, node);
    if (const RunMember* member = ledger_.MemberOf(run_, node)) wealth += member->AtStake();
  }
  return static_cast<double>((wealth - given_ - cost_).value) /
         static_cast<double>(kCreditsPerUnit) / static_cast<double>(rules_.epochs);
}

// Epochs until the first punishment, by the rules: one over the chance in an epoch.
double Computed(Conduct conduct, const GameRules& rules) {
  const auto chance = [&](std::uint32_t items) {
    BatchWork work;
    for (std::uint32_t i = 0; i < items * rules.rollouts; ++i)
      work.Add(rules.terms, rules.tokens / rules.rollouts, 0);
    const Credits pay = PriceOf(work, rules.terms.price_rollout, rules.terms.price_ktoken);
    return static_cast<double>(AuditChance(rules.terms, items, pay, Credits{}).value) / 1e9;
  };
  const double p = chance(rules.items);
  switch (conduct) {
    case Conduct::kMadeUp:
    case Conduct::kUnlikely:
    case Conduct::kWithholds:
      return 1 / p;
    case Conduct::kMadeUpSome:
      return kOneIn / p;
    case Conduct::kColludes:
      return 1 / (p * 2 / 3);
    case Conduct::kColludesTwo:
      return 1 / p;  // two of three: one of them is honest
    case Conduct::kSplits: {
      double missed = 1;
      for (int i = 0; i < kSplitKeys; ++i) missed *= 1 - chance(rules.items / kSplitKeys);
      return 1 / (1 - missed);
    }
    case Conduct::kEquivocates:
    case Conduct::kLate:
    case Conduct::kKeepsSecret:
      return 1;
    case Conduct::kLazy:
      return 1 / (p / 3);  // the canary is audited, and by this one of three
    case Conduct::kFalseAccuser: {
      const double each = 1 - p / 3;  // four honest batches
      return 1 / (1 - each * each * each * each);
    }
    default:
      return 0;
  }
}

}  // namespace

Conduct TwinOf(Conduct conduct) {
  if (conduct == Conduct::kHonestPair || Colludes(conduct)) return Conduct::kHonestPair;
  return IsValidator(conduct) ? Conduct::kHonestValidator : Conduct::kHonest;
}

GameResult PlayGames(Conduct conduct, const GameRules& rules) {
  GameResult result;
  std::set<std::string> found;
  std::uint64_t epochs = 0, caught = 0;
  // Where nothing is left to chance, one game shows it.
  const bool certain = conduct == Conduct::kEquivocates || conduct == Conduct::kLate;
  const std::uint64_t played = certain ? 1 : rules.games;
  for (std::uint64_t i = 0; i < played; ++i) {
    Game game(conduct, rules, rules.seed * 1000 + i);
    game.Play();
    result.profit += game.Profit();
    if (game.first_caught() > 0) epochs += game.first_caught(), ++caught;
    found.insert(game.found().begin(), game.found().end());
  }
  const auto games = static_cast<double>(played);
  result.profit /= games;
  result.caught_games = static_cast<double>(caught) / games;
  result.epochs_computed = Computed(conduct, rules);
  if (caught > 0)
    result.epochs_simulated = static_cast<double>(epochs) / static_cast<double>(caught);
  for (const std::string& event : found) result.found += (result.found.empty() ? "" : ", ") + event;
  return result;
}

}  // namespace waggle
