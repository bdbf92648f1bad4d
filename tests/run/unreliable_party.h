// What programs that lie share, for tests of what becomes of a dispute: a party that is slow, or
// dies, and how they say where they are.
#pragma once

#include <fmt/format.h>

#include <chrono>
#include <cstdlib>
#include <memory>
#include <thread>

#include "base/files.h"
#include "delegation/answer_run.h"
#include "proofs/dispute/party.h"

namespace waggle {

class Unreliable : public DisputeParty {
 public:
  // Before each answer it waits; at question die_at (from 1; 0: at none) the process ends.
  Unreliable(std::unique_ptr<DisputeParty> inner, int slow_ms, int die_at)
      : inner_(std::move(inner)), slow_ms_(slow_ms), die_at_(die_at) {}
  std::optional<DisputeReply> Answer(const DisputeRequest& request) override {
    if (++questions_ == die_at_) std::_Exit(9);
    std::this_thread::sleep_for(std::chrono::milliseconds(slow_ms_));
    return inner_->Answer(request);
  }

 private:
  const std::unique_ptr<DisputeParty> inner_;
  const int slow_ms_, die_at_;
  int questions_ = 0;
};

// Answers for `run` until it is ended; folder gets invite.txt.
inline Status AnswerIn(const std::filesystem::path& folder, Answerer& run, const KeyPair& key) {
  AnswerOptions options;
  options.listen = "127.0.0.1:0";
  options.folder = folder;
  Status written;
  options.listening = [&](const std::string& invite) {
    written = WriteFileAtomic(folder / "invite.txt", invite + "\n");
  };
  WG_TRY(AnswerForRun(options, run, key, SystemClock()));
  return written;
}

// What main gives back.
inline int ExitCodeOf(const Status& status) {
  if (status) return 0;
  fmt::print(stderr, "{}\n", status.error().what);
  return 1;
}

}  // namespace waggle
