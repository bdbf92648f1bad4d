// `waggle referee`: asks those who answer for a run of one program what it came to, and where they
// differ finds out who said something false. Holds no weights and trains nothing.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "delegation/dispute_wire.h"
#include "proofs/dispute/referee.h"
#include "protocol/invite.h"

namespace waggle {

struct RefereeOptions {
  struct Party {
    std::string name;  // for people
    Invite invite;     // as `waggle answer` printed it
  };
  std::vector<Party> parties;
  RunProgram program;
  DisputeRules rules;
  std::filesystem::path out;  // evidence, and what a later call goes on with
  std::function<void(const std::string& line)> say;
  std::function<bool()> wants_to_leave;
};

struct RefereeReport {
  enum class Standing : std::uint8_t {
    kStands,        // its answer is the one that is left
    kFell,          // shown to be wrong, or equal to an answer that was
    kSilent,        // past a deadline
    kAbsent,        // never said what its run came to
    kOtherProgram,  // answers for another program
    kTwoTongues,    // signed two different commitments
    kUndecided,     // a dispute came to nothing: the client's program or data is broken, or a tile
                    // is past the limits
  };
  struct Party {
    std::string name;
    NodeId node;                      // of those that answered
    std::optional<Digest256> answer;  // root over its steps
    Standing standing = Standing::kAbsent;
  };
  struct Dispute {
    std::size_t a = 0, b = 0;  // of parties
    DisputeVerdict verdict;
    std::string place;
    RefereeStats stats;
    double seconds = 0, referee_seconds = 0;  // all of it; of those the referee's own
    bool resumed = false, kept = false;       // kept: decided in an earlier call
    std::filesystem::path evidence;
    Digest256 evidence_hash{};
  };
  std::vector<Party> parties;
  std::vector<Dispute> disputes;
  std::optional<Digest256> answer;  // that stands
  bool left = false;                // before it was over: call again with the same `out`
};
const char* ToString(RefereeReport::Standing standing);

// Blocks. Blame::kOperator: fewer than two parties, two with one key, the folder.
Result<RefereeReport> Arbitrate(const RefereeOptions& options, const Signer& key, Clock& clock);

}  // namespace waggle
