#include "delegation/response_fetch.h"

namespace waggle {
namespace {

constexpr std::int64_t kWaitMs = 20;

class Fetch {
 public:
  Fetch(const Invite& from, const FetchOptions& options, const Signer& key, Clock& clock)
      : options_(options), key_(key), clock_(clock), line_(from, clock) {}

  Result<RolloutClaims> Run() {
    const std::uint64_t all = options_.program.units * options_.program.group;
    while (responses_.size() < all) WG_TRY(Next());
    if (responses_.size() > all) return Fail(Blame::kPeer, "more responses than there are prompts");
    std::vector<Digest256> roots;
    for (const std::vector<TokenRecord>& response : responses_)
      roots.push_back(TokenRoot(response, options_.program.tokens_max));
    if (BatchTree(options_.program, roots).root() != options_.answer)
      return Fail(Blame::kPeer, "these responses are not those that were committed to");
    return std::move(responses_);
  }

 private:
  // Asks for what comes next, again on every new connection, until some of it is there.
  Status Next() {
    const Bytes question = SealFrame(
        DisputeFrameKind::kResponsesAsked,
        EncodeBody(ResponsesAsked{ProgramHash(options_.program), responses_.size()}), key_);
    bool asked = line_.Send(question);
    const std::int64_t until = clock_.MonotonicNs() + options_.patience_ns;
    while (clock_.MonotonicNs() < until) {
      if (options_.wants_to_leave && options_.wants_to_leave())
        return Fail(Blame::kOperator, "left before it was over");
      const PartyLine::Heard heard = line_.Next(key_, kWaitMs);
      if (heard.opened || !asked) asked = line_.Send(question);
      if (!heard.frame) continue;
      if (heard.frame->kind == DisputeFrameKind::kRefused)
        return Fail(Blame::kPeer, "it does not give its responses");
      if (heard.frame->kind != DisputeFrameKind::kResponses) continue;
      WG_ASSIGN(const ResponsesSaid said, DecodeResponsesSaid(heard.frame->body));
      if (said.first != responses_.size()) continue;  // asked for twice
      return Take(said.content);
    }
    return Fail(Blame::kPeer, "nothing came in time");
  }
  Status Take(std::span<const std::uint8_t> content) {
    WG_ASSIGN(DecodedResponses read, DecodeResponses(content, options_.program.tokens_max));
    if (read.responses.empty() || read.bytes != content.size())
      return Fail(Blame::kPeer, "no whole responses");
    std::move(read.responses.begin(), read.responses.end(), std::back_inserter(responses_));
    return {};
  }

  const FetchOptions& options_;
  const Signer& key_;
  Clock& clock_;
  PartyLine line_;
  RolloutClaims responses_;
};

}  // namespace

Result<RolloutClaims> FetchResponses(const Invite& from, const FetchOptions& options,
                                     const Signer& key, Clock& clock) {
  return Fetch(from, options, key, clock).Run();
}

}  // namespace waggle
