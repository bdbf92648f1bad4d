// Whoever answers for a run, as a state machine without I/O: frames and the time go in, frames to
// send and work to do come out. It knows a few disputes at a time; when it has forgotten one, the
// referee opens it again. One caller at a time.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <vector>

#include "crypto/identity.h"
#include "delegation/dispute_wire.h"

namespace waggle {

struct AnswerDeskLimits {
  std::size_t disputes_max = 16;  // known at once; the oldest is forgotten
  std::size_t waiting_max = 8;    // questions that wait for an answer
};

class AnswerDesk {
 public:
  using Link = std::uint64_t;
  struct Send {
    Link link = 0;
    Bytes frame;
  };
  // One question to be answered, outside and in this order: then OnAnswer.
  struct Work {
    std::uint64_t number = 0;
    DisputeTerms terms;
    DisputeRequest request;
  };
  struct Effects {
    std::vector<Send> send;
    std::vector<Work> work;
  };

  // Answerer::Responses.
  using Contents = std::function<Bytes(std::uint64_t first)>;

  // `key` outlives the desk. referees: whom it answers; none: anybody. commit: what its run of
  // `program` came to.
  AnswerDesk(const Signer& key, const RunProgram& program, const RunCommit& commit,
             std::vector<NodeId> referees, const AnswerDeskLimits& limits = {},
             Contents contents = nullptr);

  Effects OnFrame(Link link, std::int64_t now_ns, std::span<const std::uint8_t> bytes);
  // Nothing: silence, which the referee will notice.
  Effects OnAnswer(std::uint64_t number, const std::optional<DisputeReply>& reply);
  // Asks for more time where an answer takes long.
  Effects Tick(std::int64_t now_ns);

  struct Counts {
    std::uint64_t disputes = 0, answers = 0, refused = 0, bytes = 0;
  };
  const Counts& counts() const { return counts_; }

 private:
  struct Open {
    DisputeTerms terms;
    std::uint8_t side = 0;
    std::uint8_t extensions = 0;  // that were asked for
  };
  struct Waiting {
    std::uint64_t number = 0;
    Link link = 0;
    DisputeRequest request;
    std::int64_t until_ns = 0, patience_ns = 0;  // until: as far as this side can tell
  };
  Effects Refuse(Link link, DisputeRefusalCause cause, const Digest256& dispute = {});
  Effects OnOpened(Link link, std::span<const std::uint8_t> body);
  Effects OnResponsesAsked(Link link, std::span<const std::uint8_t> body);
  Effects OnAsked(Link link, std::int64_t now_ns, std::span<const std::uint8_t> body);

  const Signer& key_;
  const RunProgram program_;
  const Digest256 program_hash_;
  const RunCommit commit_;
  const std::vector<NodeId> referees_;
  const AnswerDeskLimits limits_;
  const Contents contents_;
  std::map<Digest256, Open> disputes_;
  std::deque<Digest256> order_;  // of disputes_, the oldest first
  std::vector<Waiting> waiting_;
  std::uint64_t next_ = 1;
  Counts counts_;
};

}  // namespace waggle
