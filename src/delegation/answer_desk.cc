#include "delegation/answer_desk.h"

#include <algorithm>

namespace waggle {

AnswerDesk::AnswerDesk(const Signer& key, const RunProgram& program, const RunCommit& commit,
                       std::vector<NodeId> referees, const AnswerDeskLimits& limits,
                       Contents contents)
    : key_(key),
      program_(program),
      program_hash_(ProgramHash(program)),
      commit_(commit),
      referees_(std::move(referees)),
      limits_(limits),
      contents_(std::move(contents)) {}

AnswerDesk::Effects AnswerDesk::Refuse(Link link, DisputeRefusalCause cause,
                                       const Digest256& dispute) {
  ++counts_.refused;
  return {.send = {{link, SealFrame(DisputeFrameKind::kRefused,
                                    EncodeBody(DisputeRefusal{dispute, cause}), key_)}},
          .work = {}};
}

AnswerDesk::Effects AnswerDesk::OnFrame(Link link, std::int64_t now_ns,
                                        std::span<const std::uint8_t> bytes) {
  const auto frame = OpenFrame(bytes, key_);
  if (!frame) return Refuse(link, DisputeRefusalCause::kMalformed);
  if (!referees_.empty() &&
      std::find(referees_.begin(), referees_.end(), frame->sender) == referees_.end())
    return Refuse(link, DisputeRefusalCause::kStranger);
  switch (frame->kind) {
    case DisputeFrameKind::kCommitmentAsked: {
      Commitment said{{}, program_hash_, commit_.units};
      if (frame->body.size() != said.nonce.size())
        return Refuse(link, DisputeRefusalCause::kMalformed);
      std::copy(frame->body.begin(), frame->body.end(), said.nonce.begin());
      return {.send = {{link, SealFrame(DisputeFrameKind::kCommitment, EncodeBody(said), key_)}},
              .work = {}};
    }
    case DisputeFrameKind::kOpened:
      return OnOpened(link, frame->body);
    case DisputeFrameKind::kAsked:
      return OnAsked(link, now_ns, frame->body);
    case DisputeFrameKind::kResponsesAsked:
      return OnResponsesAsked(link, frame->body);
    case DisputeFrameKind::kCommitment:
    case DisputeFrameKind::kResponses:
    case DisputeFrameKind::kAnswered:
    case DisputeFrameKind::kRefused:
      break;
  }
  return Refuse(link, DisputeRefusalCause::kMalformed);
}

AnswerDesk::Effects AnswerDesk::OnResponsesAsked(Link link, std::span<const std::uint8_t> body) {
  const auto asked = DecodeResponsesAsked(body);
  if (!asked) return Refuse(link, DisputeRefusalCause::kMalformed);
  if (asked->program != program_hash_) return Refuse(link, DisputeRefusalCause::kOtherProgram);
  ResponsesSaid said{asked->first, contents_ ? contents_(asked->first) : Bytes{}};
  if (said.content.empty()) return Refuse(link, DisputeRefusalCause::kMalformed);
  counts_.bytes += said.content.size();
  return {.send = {{link, SealFrame(DisputeFrameKind::kResponses, EncodeBody(said), key_)}},
          .work = {}};
}

AnswerDesk::Effects AnswerDesk::OnOpened(Link link, std::span<const std::uint8_t> body) {
  const auto terms = DecodeTerms(body);
  if (!terms) return Refuse(link, DisputeRefusalCause::kMalformed);
  const Digest256 id = DisputeId(*terms);
  if (terms->program != program_) return Refuse(link, DisputeRefusalCause::kOtherProgram, id);
  if ((terms->a == key_.id()) == (terms->b == key_.id()))
    return Refuse(link, DisputeRefusalCause::kNotMine, id);
  if (!CheckRules(terms->rules)) return Refuse(link, DisputeRefusalCause::kRules, id);
  if (disputes_.contains(id)) return {};
  if (order_.size() >= limits_.disputes_max) {
    disputes_.erase(order_.front());
    order_.pop_front();
  }
  const auto side = static_cast<std::uint8_t>(terms->a == key_.id() ? 0 : 1);
  disputes_.emplace(id, Open{*terms, side, 0});
  order_.push_back(id);
  ++counts_.disputes;
  return {};
}

AnswerDesk::Effects AnswerDesk::OnAsked(Link link, std::int64_t now_ns,
                                        std::span<const std::uint8_t> body) {
  const auto request = DecodeRefereeRequest(body);
  if (!request) return Refuse(link, DisputeRefusalCause::kMalformed);
  const auto open = disputes_.find(request->dispute);
  if (open == disputes_.end())
    return Refuse(link, DisputeRefusalCause::kUnknownDispute, request->dispute);
  const DisputeTerms& terms = open->second.terms;
  const bool tiles =
      request->kind == RequestKind::kChildren && request->tree == DisputeTree::kTiles;
  // A referee never asks for more hashes at once: an answer has its limits.
  if (request->party != open->second.side || request->steps > (tiles ? 1 : terms.rules.steps))
    return Refuse(link, DisputeRefusalCause::kMalformed, request->dispute);
  for (Waiting& waiting : waiting_) {
    DisputeRequest same = *request;
    same.deadline_ns = waiting.request.deadline_ns;
    if (!(same == waiting.request)) continue;
    waiting.link = link;  // asked again over another line
    return {};
  }
  if (waiting_.size() >= limits_.waiting_max)
    return Refuse(link, DisputeRefusalCause::kBusy, request->dispute);
  const std::int64_t patience = PatienceOf(terms.rules, *request);
  waiting_.push_back({next_, link, *request, now_ns + patience, patience});
  return {.send = {}, .work = {{next_++, terms, *request}}};
}

AnswerDesk::Effects AnswerDesk::OnAnswer(std::uint64_t number,
                                         const std::optional<DisputeReply>& reply) {
  const auto at = std::find_if(waiting_.begin(), waiting_.end(),
                               [&](const Waiting& waiting) { return waiting.number == number; });
  if (at == waiting_.end()) return {};
  const Link link = at->link;
  waiting_.erase(at);
  if (!reply) return {};
  ++counts_.answers;
  Bytes frame = FrameOf(Sign(key_, *reply), key_.id());
  counts_.bytes += frame.size();
  return {.send = {{link, std::move(frame)}}, .work = {}};
}

AnswerDesk::Effects AnswerDesk::Tick(std::int64_t now_ns) {
  Effects effects;
  for (Waiting& waiting : waiting_) {
    // With a third of the time left, for the line and the referee's other work.
    if (now_ns < waiting.until_ns - waiting.patience_ns / 3) continue;
    const auto open = disputes_.find(waiting.request.dispute);
    if (open == disputes_.end() || open->second.extensions >= open->second.terms.rules.extensions)
      continue;
    ++open->second.extensions;
    waiting.until_ns += waiting.patience_ns;
    DisputeReply more;
    more.dispute = waiting.request.dispute;
    more.round = waiting.request.round;
    more.party = waiting.request.party;
    more.extension = true;
    effects.send.push_back({waiting.link, FrameOf(Sign(key_, more), key_.id())});
  }
  return effects;
}

}  // namespace waggle
