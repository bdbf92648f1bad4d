// The client's part once an answer stands: gets the responses themselves from somebody who
// committed to it, and believes them because they hash to what was committed to.
#pragma once

#include <functional>

#include "base/clock.h"
#include "delegation/party_line.h"
#include "delegation/response_codec.h"

namespace waggle {

struct FetchOptions {
  RunProgram program;                         // of rollouts
  Digest256 answer{};                         // root over its batches
  std::int64_t patience_ns = 60'000'000'000;  // for each frame
  std::function<bool()> wants_to_leave;       // may be empty
};

// Blocks. Blame::kPeer: nothing came in time, or what came is not what was committed to.
Result<RolloutClaims> FetchResponses(const Invite& from, const FetchOptions& options,
                                     const Signer& key, Clock& clock);

}  // namespace waggle
