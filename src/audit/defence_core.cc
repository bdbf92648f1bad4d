#include "audit/defence_core.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "audit/trust_terms.h"
#include "proofs/claims.h"

namespace waggle {
namespace {

constexpr std::uint64_t kLapseAgainMs = 60'000;
constexpr std::uint32_t kAccusedMax = 4;  // items that an accusation alone makes us look at

// What a referee can judge: the tests with a tolerance are not contested, nor is a canary.
bool FoundAgainst(const LedgerBatch& batch) {
  const Finding worst = batch.Worst();
  return batch.state == BatchState::kPending && !batch.canary && worst != Finding::kAccepted &&
         worst != Finding::kStatistical;
}

std::optional<LedgerDispute> DisputeOf(const Ledger& ledger, const LedgerBatch& batch,
                                       DisputeAbout about) {
  for (const std::uint64_t id : batch.disputes) {
    const LedgerDispute& dispute = ledger.state().disputes.at(id);
    if (dispute.about == about) return dispute;
  }
  return std::nullopt;
}

}  // namespace

DefenceCore::DefenceCore(const Signer& key, const Hash256& run, const Hash256& description)
    : key_(key), run_(LedgerRun{run}), description_(description), follower_(run_) {}

std::vector<DefenceEffect> DefenceCore::Step(const DefenceEvent& event) {
  if (!lied_) std::visit([&](const auto& e) { On(e); }, event);
  if (!lied_) Look();
  return std::exchange(effects_, {});
}

void DefenceCore::On(const HostAnswered& event) {
  host_ = event.host;
  linked_ = true;
  submitted_.reset();
  follower_.Unlink();
  if (follows_) effects_.emplace_back(SayToHost{LedgerAsk{follower_.next()}});
}

void DefenceCore::On(const HostSaid& event) {
  if (!host_) return;
  std::visit([&](const auto& message) { Heard(message); }, event.message);
}

void DefenceCore::Heard(const LedgerEntries& message) {
  if (!follows_) {  // told unasked: something in it is about us
    follows_ = true;
    effects_.emplace_back(SayToHost{LedgerAsk{0}});
    return;
  }
  auto why = follower_.Hear(message, *host_,
                            [this](const LedgerEntry& entry, std::span<const LedgerEvent> events) {
                              if (entry.request.author == key_.id()) submitted_.reset();
                              for (const LedgerEvent& seen : events) {
                                if (seen.run == run_ && seen.who == key_.id()) Judged(seen);
                              }
                            });
  if (!why) return;
  lied_ = true;
  effects_.emplace_back(HostLied{std::move(*why)});
}

void DefenceCore::Heard(const PolicySigned& message) {
  const Signed<PolicyClaim> said{{run_.value, message.version, message.root, message.description},
                                 message.signature};
  if (message.description == description_ && ClaimHolds(said, *host_))
    policies_.emplace(message.version, message.root);
}

void DefenceCore::Heard(const LedgerDeclined& message) {
  if (submitted_ != message.nonce) return;
  submitted_.reset();
  cases_.at(submitted_for_).said = true;
  effects_.emplace_back(Noticed{"the ledger declined our defence: " + message.text});
}

void DefenceCore::Submit(std::uint64_t epoch, LedgerBody body) {
  submitted_for_ = epoch;
  const std::uint64_t nonce = follower_.ledger()->NonceOf(key_.id());
  submitted_ = nonce;
  effects_.emplace_back(SayToHost{LedgerSubmission{
      Encode(SignRequest(key_, follower_.ledger()->id(), nonce, std::move(body)))}});
}

// Whatever is found against us, or somebody accuses us of, in what is not settled.
void DefenceCore::Look() {
  if (!linked_ || !follower_.caught_up()) return;
  const LedgerRunState& run = *follower_.run();
  for (const auto& [number, epoch] : run.epochs) {
    const auto mine = epoch.batches.find(key_.id());
    if (mine == epoch.batches.end()) continue;
    const LedgerBatch& batch = mine->second;
    if (batch.canary && batch.state == BatchState::kPending) SayNoCanary(number, batch);
    const bool accused =
        DisputeOf(*follower_.ledger(), batch, DisputeAbout::kAccusation).has_value();
    if (!FoundAgainst(batch) && !accused) continue;
    const auto [it, fresh] = cases_.try_emplace(number);
    if (!fresh) {
      Answer(number, it->second, batch);
      continue;
    }
    ++counts_.looked;
    effects_.emplace_back(Noticed{fmt::format(
        "{} our batch of epoch {}: examining it again",
        FoundAgainst(batch) ? fmt::format("a validator finds \"{}\" in", ToString(batch.Worst()))
                            : "somebody accuses",
        number)});
    ExamineOwn examine{.epoch = number, .items = batch.items};
    if (batch.audited_whole || examine.items.empty()) {
      // An accusation may be about any of them, and may be free: a few tell whether we can compute.
      const std::uint32_t most = FoundAgainst(batch) ? batch.claim.items : kAccusedMax;
      examine.items.resize(std::min(batch.claim.items, most));
      std::iota(examine.items.begin(), examine.items.end(), 0u);
    }
    effects_.emplace_back(std::move(examine));
  }
}

// Canaries are the host's own: what we sampled is none. Its pay would be lost with it.
void DefenceCore::SayNoCanary(std::uint64_t epoch, const LedgerBatch& batch) {
  const auto [it, fresh] = cases_.try_emplace(epoch);
  Case& mine = it->second;
  mine.found = OwnExamined::Kind::kHolds;
  if (batch.contested || mine.said || submitted_) return;
  if (!std::exchange(mine.contested, true)) {
    ++counts_.contested;
    effects_.emplace_back(Noticed{fmt::format(
        "our batch of epoch {} is said to be a canary, and is work of ours: contested", epoch)});
  }
  Submit(epoch, ContestCanary{run_, epoch, key_.id(), {}});
}

void DefenceCore::On(const OwnExamined& event) {
  const auto found = cases_.find(event.epoch);
  if (found == cases_.end() || found->second.found) return;
  found->second.found = event.kind;
  const std::string text = event.text.empty() ? "" : ": " + event.text;
  if (event.kind == OwnExamined::Kind::kFails) {
    effects_.emplace_back(MachineFault{fmt::format(
        "our own batch of epoch {} does not hold when it is examined again{}; the finding is not "
        "contested. This machine (its memory, its disk, or this build) cannot be relied on",
        event.epoch, text)});
  } else if (event.kind == OwnExamined::Kind::kUnknown) {
    effects_.emplace_back(
        Noticed{fmt::format("whether our batch of epoch {} holds cannot be told here{}; the "
                            "finding is not contested",
                            event.epoch, text)});
  }
}

void DefenceCore::Answer(std::uint64_t epoch, Case& it, const LedgerBatch& batch) {
  if (it.found != OwnExamined::Kind::kHolds || submitted_) return;
  const RunTerms& terms = follower_.run()->terms;
  const auto mine = DisputeOf(*follower_.ledger(), batch, DisputeAbout::kFinding);
  if (mine) {
    // Nobody decided: the bond comes back, and the finding weighs nothing.
    const bool due = wall_ms_ >= mine->opened_ms + terms.referee_ms &&
                     wall_ms_ >= it.lapse_asked_ms.value_or(0) + kLapseAgainMs;
    if (!due) return;
    it.lapse_asked_ms = wall_ms_;
    for (const std::uint64_t id : batch.disputes) {
      if (follower_.ledger()->state().disputes.at(id).about == DisputeAbout::kFinding)
        return Submit(epoch, LapseDispute{id});
    }
  }
  if (batch.contested || it.said) return;
  const auto say = [&](std::string text) {
    it.said = true;
    effects_.emplace_back(Noticed{std::move(text)});
  };
  if (!FoundAgainst(batch))
    return say(fmt::format(
        "our batch of epoch {} holds: we are accused falsely, and the referee decides", epoch));
  const Credits balance = follower_.ledger()->BalanceOf(key_.id());
  if (balance < terms.accuse_bond)
    return say(
        fmt::format("our batch of epoch {} holds, but to contest the finding takes a bond "
                    "of {}, and we have {}: its pay is lost unless somebody helps before "
                    "its time is over",
                    epoch, CreditsText(terms.accuse_bond), CreditsText(balance)));
  if (!std::exchange(it.contested, true)) {
    ++counts_.contested;
    effects_.emplace_back(Noticed{
        fmt::format("our batch of epoch {} holds: the finding is false, and is contested", epoch)});
  }
  // What is contested is what that finding named.
  const auto seat = std::ranges::find_if(
      batch.auditors, [&](const AuditorSeat& one) { return one.finding == batch.Worst(); });
  Submit(epoch, Contest{run_, epoch, seat->evidence});
}

void DefenceCore::Judged(const LedgerEvent& event) {
  const auto found = cases_.find(event.epoch);
  if (found == cases_.end()) return;
  const bool held = found->second.found == OwnExamined::Kind::kHolds;
  switch (event.kind) {
    case LedgerEventKind::kFoundInnocent:
      ++counts_.won;
      effects_.emplace_back(
          Noticed{fmt::format("the referee finds that our batch of epoch {} holds", event.epoch)});
      break;
    case LedgerEventKind::kFoundGuilty:
      ++counts_.lost;
      if (!held) break;
      lied_ = true;
      effects_.emplace_back(HostLied{
          fmt::format("its referee upholds a finding against our batch of epoch {}, which holds",
                      event.epoch)});
      break;
    case LedgerEventKind::kDisputeLapsed:
      effects_.emplace_back(Noticed{
          fmt::format("nobody decided about our batch of epoch {} in time: the finding weighs "
                      "nothing any more",
                      event.epoch)});
      break;
    default:
      break;
  }
}

void DefenceCore::On(const DefenceTick& event) { wall_ms_ = event.wall_ms; }

}  // namespace waggle
