#include "delegation/referee_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <memory>

#include "base/check.h"
#include "base/files.h"
#include "base/hex.h"
#include "crypto/random.h"
#include "delegation/dispute_journal.h"
#include "delegation/dispute_settlement.h"
#include "delegation/party_line.h"
#include "delegation/run_ground.h"
#include "proofs/dispute/tournament.h"

namespace waggle {
namespace {

namespace fs = std::filesystem;
using Standing = RefereeReport::Standing;

constexpr std::int64_t kWaitMs = 5;                // for one line, before the other is looked at
constexpr std::int64_t kAskAgainNs = 500'000'000;  // after "busy"

class Arbitration {
 public:
  Arbitration(const RefereeOptions& options, const Signer& key, Clock& clock)
      : options_(options), key_(key), clock_(clock) {
    for (const RefereeOptions::Party& party : options.parties) {
      lines_.push_back(std::make_unique<PartyLine>(party.invite, clock));
      report_.parties.push_back({party.name, {}, {}, Standing::kAbsent});
    }
  }

  Result<RefereeReport> Run();

 private:
  // One side of a dispute that goes on, on its line.
  struct Side {
    std::size_t party = 0;
    bool opened = false;      // the terms were sent on this connection
    std::uint32_t asked = 0;  // round that was sent on it
    std::int64_t again_ns = 0;
  };

  bool Leave() {
    report_.left = report_.left || (options_.wants_to_leave && options_.wants_to_leave());
    return report_.left;
  }
  void Say(const std::string& line) {
    if (options_.say) options_.say(line);
  }
  void Gather();
  void OnCommitment(std::size_t party, const DisputeFrame& frame);
  Status CheckDistinct() const;
  DisputeVerdict Play(std::size_t a, std::size_t b);
  bool Reuse(RefereeReport::Dispute& dispute);
  Result<Referee> OpenOrResume(RefereeReport::Dispute& dispute,
                               std::optional<DisputeJournal>& journal);
  Status Hold(RefereeReport::Dispute& dispute);
  void Ask(Side& side, const Referee& referee);
  Status Hear(Side& side, Referee& referee, DisputeJournal& journal, std::int64_t now,
              RefereeReport::Dispute& dispute);
  void Settle(const TournamentResult& result, const std::vector<std::size_t>& index);

  const RefereeOptions& options_;
  const Signer& key_;
  Clock& clock_;
  std::vector<std::unique_ptr<PartyLine>> lines_;
  RefereeReport report_;
  Digest256 nonce_{};
  std::optional<Error> trouble_;  // of our own, in the middle of a tournament
};

// Everybody says what its run came to, before anybody hears what the others say.
void Arbitration::Gather() {
  nonce_ = RandomBytes<32>();
  const Bytes question =
      SealFrame(DisputeFrameKind::kCommitmentAsked, Bytes(nonce_.begin(), nonce_.end()), key_);
  const std::int64_t until = clock_.MonotonicNs() + options_.rules.hash_ns;
  const auto missing = [this] {
    return std::any_of(report_.parties.begin(), report_.parties.end(), [](const auto& party) {
      return !party.answer && party.standing == Standing::kAbsent;
    });
  };
  while (missing() && clock_.MonotonicNs() < until && !Leave()) {
    for (std::size_t i = 0; i < lines_.size(); ++i) {
      const PartyLine::Heard heard = lines_[i]->Next(key_, kWaitMs);
      if (heard.opened) lines_[i]->Send(question);
      if (!heard.frame) continue;
      if (heard.frame->kind == DisputeFrameKind::kCommitment) OnCommitment(i, *heard.frame);
      if (heard.frame->kind != DisputeFrameKind::kRefused) continue;
      if (const auto refusal = DecodeRefusal(heard.frame->body))
        Say(fmt::format("{}: {}", options_.parties[i].name, ToString(refusal->cause)));
    }
  }
}

void Arbitration::OnCommitment(std::size_t i, const DisputeFrame& frame) {
  RefereeReport::Party& party = report_.parties[i];
  const auto said = DecodeCommitment(frame.body);
  if (!said || said->nonce != nonce_ || party.answer || party.standing != Standing::kAbsent) return;
  party.node = frame.sender;
  if (said->program != ProgramHash(options_.program)) {
    party.standing = Standing::kOtherProgram;
    return;
  }
  party.answer = said->units;
  party.standing = Standing::kStands;
  // Kept: with what it says in a dispute it proves a second answer.
  const Bytes bytes = WireEncode(frame, kDisputeFrameBytesMax);
  const Status kept = WriteFileAtomic(options_.out / (ToText(party.node) + ".commitment"),
                                      {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  if (!kept) Say(kept.error().what);
  Say(fmt::format("{}: {} committed to {}", party.name, ToText(party.node),
                  ToHex(said->units).substr(0, 16)));
}

Status Arbitration::CheckDistinct() const {
  for (std::size_t i = 0; i < report_.parties.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      if (report_.parties[i].answer && report_.parties[j].answer &&
          report_.parties[i].node == report_.parties[j].node)
        return Fail(Blame::kOperator, "{} and {} answer with one key", report_.parties[j].name,
                    report_.parties[i].name);
    }
  }
  return {};
}

// A dispute about these very answers that an earlier call decided.
bool Arbitration::Reuse(RefereeReport::Dispute& dispute) {
  for (const auto& file : fs::directory_iterator(options_.out)) {
    if (file.path().extension() != kDisputeExtension) continue;
    const auto evidence = ReadDisputeFile(file.path());
    if (!evidence) continue;
    const DisputeTerms& terms = evidence->terms;
    if (terms.a != report_.parties[dispute.a].node || terms.b != report_.parties[dispute.b].node ||
        terms.program != options_.program || terms.rules != options_.rules)
      continue;
    const auto answers = AnswersOf(*evidence);
    if (answers[0] != report_.parties[dispute.a].answer ||
        answers[1] != report_.parties[dispute.b].answer)
      continue;
    const auto referee = ReplayDispute(*evidence, key_, ReadRunGround);
    if (!referee) continue;
    dispute.verdict = evidence->verdict;
    dispute.place = referee->Place();
    dispute.stats = referee->stats();
    dispute.kept = true;
    dispute.evidence = file.path();
    dispute.evidence_hash = EvidenceHash(*evidence);
    return true;
  }
  return false;
}

// A dispute between the same two that was cut short goes on where it stood.
Result<Referee> Arbitration::OpenOrResume(RefereeReport::Dispute& dispute,
                                          std::optional<DisputeJournal>& journal) {
  DisputeTerms terms{options_.program, report_.parties[dispute.a].node,
                     report_.parties[dispute.b].node, RandomBytes<32>(), options_.rules};
  for (const auto& file : fs::directory_iterator(options_.out)) {
    if (file.path().extension() != kJournalExtension) continue;
    auto kept = DisputeJournal::Open(file.path());
    if (!kept) return Forward(kept.error());
    terms.nonce = kept->read().terms.nonce;
    if (kept->read().terms != terms) continue;
    auto referee = Referee::Open(terms, key_, kept->read().opened_ns, ReadRunGround);
    if (!referee) return Forward(referee.error());
    bool whole = true;
    for (const DisputeEntry& entry : kept->read().entries)
      whole = whole && referee->Deliver(entry.at_ns, {entry.body, entry.signature}).has_value();
    if (!whole || referee->verdict())
      return Fail(Blame::kMachine, "{} is damaged: remove it to begin the dispute anew",
                  file.path().string());
    dispute.resumed = !kept->read().entries.empty();
    journal.emplace(std::move(*kept));
    return std::move(*referee);
  }
  terms.nonce = RandomBytes<32>();
  const auto opened = static_cast<std::int64_t>(clock_.UnixSeconds()) * 1'000'000'000;
  auto referee = Referee::Open(terms, key_, opened, ReadRunGround);
  if (!referee) return Forward(referee.error());
  WG_ASSIGN(journal, DisputeJournal::Begin(options_.out, terms, opened));
  return std::move(*referee);
}

void Arbitration::Ask(Side& side, const Referee& referee) {
  const std::uint8_t number = side.party == report_.disputes.back().a ? 0 : 1;
  for (const DisputeRequest& request : referee.requests()) {
    if (request.party != number || request.round == side.asked ||
        clock_.MonotonicNs() < side.again_ns)
      continue;
    if (lines_[side.party]->Send(SealFrame(DisputeFrameKind::kAsked, Encode(request), key_)))
      side.asked = request.round;
  }
}

Status Arbitration::Hear(Side& side, Referee& referee, DisputeJournal& journal, std::int64_t now,
                         RefereeReport::Dispute& dispute) {
  const PartyLine::Heard heard = lines_[side.party]->Next(key_, kWaitMs);
  if (heard.opened) side = {side.party, false, 0, 0};
  if (!side.opened)
    side.opened = lines_[side.party]->Send(
        SealFrame(DisputeFrameKind::kOpened, EncodeBody(journal.read().terms), key_));
  if (!heard.frame) return {};
  if (heard.frame->kind == DisputeFrameKind::kRefused) {
    const auto refusal = DecodeRefusal(heard.frame->body);
    if (!refusal) return {};
    if (refusal->cause == DisputeRefusalCause::kUnknownDispute) side.opened = false;
    side.asked = 0;
    side.again_ns = clock_.MonotonicNs() + kAskAgainNs;
    Say(fmt::format("{}: {}", report_.parties[side.party].name, ToString(refusal->cause)));
  }
  if (heard.frame->kind != DisputeFrameKind::kAnswered) return {};
  const DisputeEntry entry{now, heard.frame->body, heard.frame->signature};
  const std::int64_t before = clock_.MonotonicNs();
  const Status taken = referee.Deliver(now, {entry.body, entry.signature});
  dispute.referee_seconds += static_cast<double>(clock_.MonotonicNs() - before) * 1e-9;
  // What is refused changes nothing and costs nobody anything.
  return taken ? journal.Append(entry) : Status{};
}

Status Arbitration::Hold(RefereeReport::Dispute& dispute) {
  std::optional<DisputeJournal> journal;
  WG_ASSIGN(Referee referee, OpenOrResume(dispute, journal));
  if (dispute.resumed) Say("the dispute goes on where it was cut short");
  std::array<Side, 2> sides;
  sides[0].party = dispute.a;
  sides[1].party = dispute.b;
  // The dispute's own time: it stands still while there is no referee, so that nobody is late for
  // a question that was not being asked.
  const DisputeEvidence& kept = journal->read();
  const std::int64_t base = kept.entries.empty() ? kept.opened_ns : kept.entries.back().at_ns;
  const std::int64_t begun = clock_.MonotonicNs();
  while (!referee.verdict()) {
    if (Leave()) return {};
    for (Side& side : sides) {
      const std::int64_t now = base + clock_.MonotonicNs() - begun;
      WG_TRY(Hear(side, referee, *journal, now, dispute));
      if (side.opened) Ask(side, referee);
    }
    referee.Tick(base + clock_.MonotonicNs() - begun);
  }
  dispute.seconds = static_cast<double>(clock_.MonotonicNs() - begun) * 1e-9;
  dispute.verdict = *referee.verdict();
  dispute.place = referee.Place();
  dispute.stats = referee.stats();
  const DisputeEvidence evidence = referee.evidence();
  dispute.evidence_hash = EvidenceHash(evidence);
  // Somebody who says one thing when asked for its answer and another in the dispute has signed
  // both: whatever the dispute came to, it falls.
  const auto answers = AnswersOf(evidence);
  const std::array<std::size_t, 2> parties{dispute.a, dispute.b};
  for (std::size_t p = 0; p < 2; ++p) {
    RefereeReport::Party& party = report_.parties[parties[p]];
    if (!answers[p] || answers[p] == party.answer) continue;
    party.standing = Standing::kTwoTongues;
  }
  WG_ASSIGN(dispute.evidence, journal->Finish(evidence));
  return {};
}

DisputeVerdict Arbitration::Play(std::size_t a, std::size_t b) {
  // Once something of our own is broken, or we are to leave, the rest is not played: the report
  // is not used then.
  DisputeVerdict nobody;
  nobody.b_loses = true;
  nobody.reason = DisputeCase::kSilent;
  if (trouble_ || Leave()) return nobody;
  report_.disputes.push_back({.a = a,
                              .b = b,
                              .verdict = {},
                              .place = {},
                              .stats = {},
                              .evidence = {},
                              .evidence_hash = {}});
  RefereeReport::Dispute& dispute = report_.disputes.back();
  if (!Reuse(dispute)) {
    if (const Status held = Hold(dispute); !held) trouble_ = held.error();
  }
  if (trouble_ || report_.left) {
    report_.disputes.pop_back();
    return nobody;
  }
  DisputeVerdict verdict = dispute.verdict;
  const bool a_twice = report_.parties[a].standing == Standing::kTwoTongues,
             b_twice = report_.parties[b].standing == Standing::kTwoTongues;
  if (a_twice || b_twice) {
    verdict.a_loses = a_twice;
    verdict.b_loses = b_twice;
    verdict.reason = DisputeCase::kInconsistent;  // speaks for that one alone
  }
  if (verdict.reason == DisputeCase::kSilent) {
    if (verdict.a_loses) report_.parties[a].standing = Standing::kSilent;
    if (verdict.b_loses) report_.parties[b].standing = Standing::kSilent;
  }
  return verdict;
}

void Arbitration::Settle(const TournamentResult& result, const std::vector<std::size_t>& index) {
  report_.answer = result.winner;
  for (const std::size_t fallen : result.fallen) {
    RefereeReport::Party& party = report_.parties[index[fallen]];
    if (party.standing == Standing::kStands) party.standing = Standing::kFell;
  }
  const bool undecided =
      std::any_of(report_.disputes.begin(), report_.disputes.end(),
                  [](const auto& d) { return d.verdict.reason == DisputeCase::kNotComparable; });
  if (!undecided) return;
  report_.answer.reset();
  for (RefereeReport::Party& party : report_.parties) {
    if (party.standing == Standing::kStands || party.standing == Standing::kFell)
      party.standing = Standing::kUndecided;
  }
}

Result<RefereeReport> Arbitration::Run() {
  Gather();
  WG_TRY(CheckDistinct());
  std::vector<std::size_t> index;
  std::vector<Digest256> answers;
  for (std::size_t i = 0; i < report_.parties.size(); ++i) {
    if (!report_.parties[i].answer) continue;
    index.push_back(i);
    answers.push_back(*report_.parties[i].answer);
  }
  if (report_.left) return std::move(report_);
  const TournamentResult result = RunTournament(
      answers, [&](std::size_t a, std::size_t b) { return Play(index[a], index[b]); });
  if (trouble_) return Forward(*trouble_);
  if (!report_.left) Settle(result, index);
  return std::move(report_);
}

}  // namespace

const char* ToString(RefereeReport::Standing standing) {
  switch (standing) {
    case Standing::kStands:
      return "stands";
    case Standing::kFell:
      return "fell";
    case Standing::kSilent:
      return "silent";
    case Standing::kAbsent:
      return "absent";
    case Standing::kOtherProgram:
      return "other program";
    case Standing::kTwoTongues:
      return "two answers";
    case Standing::kUndecided:
      return "undecided";
  }
  return "?";
}

Result<RefereeReport> Arbitrate(const RefereeOptions& options, const Signer& key, Clock& clock) {
  if (options.parties.size() < 2)
    return Fail(Blame::kOperator, "a referee needs two or more who answer");
  WG_TRY(CheckRules(options.rules));
  std::error_code error;
  fs::create_directories(options.out, error);
  if (error)
    return Fail(Blame::kOperator, "cannot create {}: {}", options.out.string(), error.message());
  return Arbitration(options, key, clock).Run();
}

}  // namespace waggle
