#include "proofs/dispute/referee.h"

#include <algorithm>

#include "base/check.h"
#include "proofs/dispute/referee_impl.h"

namespace waggle {

const char* ToString(DisputeCase value) {
  constexpr std::array<const char*, 13> kNames = {
      "no dispute", "not comparable", "silent",   "inconsistent", "program", "state", "data",
      "template",   "result",         "presence", "wiring",       "input",   "output"};
  return kNames[static_cast<std::uint8_t>(value)];
}

namespace {
constexpr std::size_t kRequestBytes = 100;  // about what a request costs on the wire
}

void Referee::Impl::Ask(RequestKind kind, bool both) {
  ask.dispute = id;
  ask.round = ++round;
  ask.kind = kind;
  patience = PatienceOf(terms.rules, ask);
  requests.clear();
  for (std::uint8_t p = 0; p < 2; ++p) {
    reply[p].reset();
    waiting[p] = both || p == 0;
    deadline[p] = now + patience;
    if (!waiting[p]) continue;
    ask.party = p;
    ask.deadline_ns = deadline[p];
    requests.push_back(ask);
    stats.bytes_out += kRequestBytes;
  }
  stats.rounds = round;
}

void Referee::Impl::Decide(DisputeCase reason, Both<bool> loses) {
  DisputeVerdict v;
  v.a_loses = loses[0];
  v.b_loses = loses[1];
  v.reason = reason;
  v.unit = ask.unit;
  v.sequence = ask.sequence;
  v.token = ask.token;
  v.node = ask.node;
  v.slot = ask.slot;
  v.tile = ask.tile;
  verdict = v;
  requests.clear();
  waiting = {false, false};
}

bool Referee::Impl::Blamed(DisputeCase reason, Both<bool> faults) {
  if (!faults[0] && !faults[1]) return false;
  Decide(reason, faults);
  return true;
}

void Referee::Impl::Take() {
  switch (ask.kind) {
    case RequestKind::kOpen:
      return OnOpen();
    case RequestKind::kChildren:
      return OnChildren();
    case RequestKind::kRecord:
      return OnRecord();
    case RequestKind::kGround:
      return OnGround();
    case RequestKind::kGraph:
      return OnGraph();
    case RequestKind::kInput:
      return OnInput();
    case RequestKind::kHead:
      return OnHead();
    case RequestKind::kData:
      return OnData();
    case RequestKind::kTiles:
      return OnTiles();
    case RequestKind::kResult:
      return OnResult();
    case RequestKind::kBatch:
      return OnBatch();
    case RequestKind::kDescription:
      return OnDescription();
  }
}

Referee::Referee(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Referee::Referee(Referee&&) noexcept = default;
Referee::~Referee() = default;

Result<Referee> Referee::Open(const DisputeTerms& terms, const Signer& signer, std::int64_t now_ns,
                              const DescriptionReader& reader) {
  auto impl = std::make_unique<Impl>(terms, signer);
  WG_ASSIGN(impl->model, ModelOf(terms.program));
  impl->reader = reader;
  if (terms.program.kind == DisputeKind::kReinforcement && !reader)
    return Fail(Blame::kOperator, "terms: nobody here reads descriptions of runs");
  WG_TRY(CheckRules(terms.rules));
  constexpr std::int64_t kYear = 365 * std::int64_t{86'400'000'000'000};
  // Sums of times stay numbers.
  if (now_ns < 0 || now_ns > 100 * kYear) return Fail(Blame::kOperator, "a time past the limits");
  if (terms.a == terms.b) return Fail(Blame::kOperator, "terms: a party against itself");
  impl->id = DisputeId(terms);
  impl->now = impl->opened = now_ns;
  impl->extensions = {terms.rules.extensions, terms.rules.extensions};
  impl->Ask(RequestKind::kOpen, true);
  return Referee(std::move(impl));
}

const std::vector<DisputeRequest>& Referee::requests() const { return impl_->requests; }
const std::optional<DisputeVerdict>& Referee::verdict() const { return impl_->verdict; }
const RefereeStats& Referee::stats() const { return impl_->stats; }
const Referee::DecidedTile* Referee::decided_tile() const {
  return impl_->decided ? &*impl_->decided : nullptr;
}

std::string Referee::Place() const {
  const Impl& s = *impl_;
  if (!s.verdict) return "";
  const DisputeVerdict& v = *s.verdict;
  const RunProgram& run = s.terms.program;
  const bool rollout = IsBatch(run, v.unit);
  switch (v.reason) {
    case DisputeCase::kNoDispute:
    case DisputeCase::kProgram:
      return "the whole run";
    default:
      break;
  }
  const bool on_the_way =
      s.ask.kind == RequestKind::kOpen ||
      ((s.ask.kind == RequestKind::kChildren || s.ask.kind == RequestKind::kRecord) &&
       s.ask.tree == DisputeTree::kUnits);
  if (on_the_way && run.kind == DisputeKind::kReinforcement) return "on the way to a batch or step";
  if (on_the_way) return rollout ? "on the way to a batch" : "on the way to a step";
  std::string place = fmt::format("{} {}", rollout ? "batch" : "step", BatchOf(run, v.unit));
  if (rollout) place += fmt::format(", sequence {}, token {}", v.sequence, v.token);
  const bool node = v.reason == DisputeCase::kWiring || v.reason == DisputeCase::kInput ||
                    v.reason == DisputeCase::kOutput;
  if (!node || !s.program || v.node >= s.program->nodes.size()) return place;
  place += ", " + Describe(*s.program, v.node);
  if (v.reason == DisputeCase::kOutput)
    place += fmt::format(", output {}, tile {}", v.slot, v.tile);
  return place;
}

Status Referee::Deliver(std::int64_t now_ns, const SignedReply& signed_reply) {
  Impl& s = *impl_;
  Tick(now_ns);
  if (s.verdict) return Fail(Blame::kPeer, "the dispute is over");
  if (s.entries.size() >= kDisputeLimits.replies_max)
    return Fail(Blame::kPeer, "more replies than a dispute can have");
  WG_ASSIGN(DisputeReply reply, DecodeReply(signed_reply.body));
  if (reply.dispute != s.id || reply.round != s.round)
    return Fail(Blame::kPeer, "a reply to another question");
  if (reply.party > 1 || !s.waiting[reply.party])
    return Fail(Blame::kPeer, "a reply that nobody waits for");
  const std::uint8_t p = reply.party;
  const NodeId& who = p == 0 ? s.terms.a : s.terms.b;
  if (!s.signer.Holds(who, kDisputeDomain, signed_reply.body, signed_reply.signature))
    return Fail(Blame::kPeer, "a reply that its party did not sign");
  if (reply.extension && s.extensions[p] == 0) return Fail(Blame::kPeer, "no extensions are left");
  // Its own share: whoever pads replies takes no room from the other side.
  if (s.said[p] + signed_reply.body.size() > kDisputeLimits.party_bytes_max)
    return Fail(Blame::kPeer, "more than a party may say in a dispute");
  s.said[p] += signed_reply.body.size();
  s.now = now_ns;
  s.entries.push_back({now_ns, signed_reply.body, signed_reply.signature});
  s.stats.bytes_in += signed_reply.body.size() + signed_reply.signature.size();
  if (reply.extension) {
    --s.extensions[p];
    s.deadline[p] += s.patience;
    for (DisputeRequest& request : s.requests)
      if (request.party == p) request.deadline_ns = s.deadline[p];
    return {};
  }
  s.waiting[p] = false;
  s.reply[p] = std::move(reply);
  std::erase_if(s.requests, [&](const DisputeRequest& request) { return request.party == p; });
  if (!s.waiting[0] && !s.waiting[1]) s.Take();
  return {};
}

void Referee::Tick(std::int64_t now_ns) {
  Impl& s = *impl_;
  if (s.verdict) return;
  Both<bool> silent{};
  for (std::size_t p = 0; p < 2; ++p) silent[p] = s.waiting[p] && now_ns > s.deadline[p];
  if (!silent[0] && !silent[1]) return;
  s.now = now_ns;
  s.entries.push_back({now_ns, {}, {}});
  s.Decide(DisputeCase::kSilent, silent);
}

DisputeEvidence Referee::evidence() const {
  Check(impl_->verdict.has_value(), "evidence is of a verdict");
  return {impl_->terms, impl_->opened, impl_->entries, *impl_->verdict};
}

Bytes Encode(const DisputeEvidence& evidence) {
  return WireEncode(evidence, kDisputeLimits.evidence_bytes_max);
}
Result<DisputeEvidence> DecodeDisputeEvidence(std::span<const std::uint8_t> bytes) {
  auto evidence = WireDecode<DisputeEvidence>(bytes, kDisputeLimits.evidence_bytes_max);
  if (!evidence) return Fail(Blame::kPeer, "dispute evidence: {}", evidence.error().what);
  return std::move(*evidence);
}
Digest256 EvidenceHash(const DisputeEvidence& evidence) { return Sha256(Encode(evidence)); }

Status CheckDisputeEvidence(const DisputeEvidence& evidence, const Signer& signer,
                            const DescriptionReader& reader) {
  return ReplayDispute(evidence, signer, reader).map([](const Referee&) {});
}

Result<Referee> ReplayDispute(const DisputeEvidence& evidence, const Signer& signer,
                              const DescriptionReader& reader) {
  auto referee = Referee::Open(evidence.terms, signer, evidence.opened_ns, reader);
  if (!referee) return Fail(Blame::kPeer, "evidence: {}", referee.error().what);
  std::int64_t now = evidence.opened_ns;
  for (std::size_t i = 0; i < evidence.entries.size(); ++i) {
    const DisputeEntry& entry = evidence.entries[i];
    if (entry.at_ns < now) return Fail(Blame::kPeer, "evidence: entry {} is out of order", i);
    now = entry.at_ns;
    if (entry.body.empty()) {
      referee->Tick(now);
      continue;
    }
    if (const Status status = referee->Deliver(now, {entry.body, entry.signature}); !status)
      return Fail(Blame::kPeer, "evidence: entry {}: {}", i, status.error().what);
  }
  if (!referee->verdict()) return Fail(Blame::kPeer, "evidence: it leads to no verdict");
  if (*referee->verdict() != evidence.verdict)
    return Fail(Blame::kPeer, "evidence: it leads to another verdict ({})",
                ToString(referee->verdict()->reason));
  if (referee->evidence().entries.size() != evidence.entries.size())
    return Fail(Blame::kPeer, "evidence: entries that change nothing");
  return std::move(*referee);
}

}  // namespace waggle
