// A party of a dispute that is slow, or dies: for tests of what becomes of the dispute.
#pragma once

#include <chrono>
#include <cstdlib>
#include <memory>
#include <thread>

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

}  // namespace waggle
