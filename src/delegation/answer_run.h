// `waggle answer`: answers for a run over the network, until it is told to leave.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "delegation/answer_desk.h"
#include "delegation/delegation.h"

namespace waggle {

struct AnswerOptions {
  std::string listen;              // "host:port"; port 0: any free
  std::vector<std::string> hosts;  // under which others reach it; none: as it listens
  std::filesystem::path folder;    // its certificate is kept here, so that its address stays
  std::vector<NodeId> referees;    // whom it answers; none: anybody
  // The line that a referee is given: an invite whose run is the ProgramHash.
  std::function<void(const std::string& invite)> listening;
  std::function<void(const std::string& line)> say;
  std::function<bool()> wants_to_leave;  // asked several times a second
};

// Blocks. `answerer` is used on a thread of its own while this runs. Blame::kOperator: the address.
Result<AnswerDesk::Counts> AnswerForRun(const AnswerOptions& options, Answerer& answerer,
                                        const Signer& key, Clock& clock);

}  // namespace waggle
