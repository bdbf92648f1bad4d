// Virtual time: what is to happen, in order. Events of the same moment happen in the order in which
// they were planned, so a run is a function of its inputs.
#pragma once

#include <algorithm>
#include <functional>
#include <vector>

#include "base/check.h"
#include "sim/scenario.h"

namespace waggle {

class EventQueue {
 public:
  using Action = std::function<void()>;

  Micros now() const { return now_; }
  void At(Micros time, Action action) {
    std::size_t slot = actions_.size();
    if (free_.empty()) {
      actions_.push_back(std::move(action));
    } else {
      slot = free_.back();
      free_.pop_back();
      actions_[slot] = std::move(action);
    }
    heap_.push_back({std::max(time, now_), next_++, slot});
    std::push_heap(heap_.begin(), heap_.end(), Later{});
  }
  void After(Micros delay, Action action) { At(now_ + delay, std::move(action)); }

  bool empty() const { return heap_.empty(); }
  std::uint64_t done() const { return done_; }
  // The next event; time goes on to it.
  void Step() {
    Check(!heap_.empty(), "there is a next event");
    std::pop_heap(heap_.begin(), heap_.end(), Later{});
    const Event event = heap_.back();
    heap_.pop_back();
    now_ = event.time;
    ++done_;
    const Action action = std::move(actions_[event.slot]);
    free_.push_back(event.slot);
    action();
  }

 private:
  struct Event {
    Micros time = 0;
    std::uint64_t number = 0;
    std::size_t slot = 0;  // of actions_: what is small moves about in the heap
  };
  struct Later {
    bool operator()(const Event& a, const Event& b) const {
      return std::pair(a.time, a.number) > std::pair(b.time, b.number);
    }
  };

  Micros now_ = 0;
  std::uint64_t next_ = 0, done_ = 0;
  std::vector<Event> heap_;
  std::vector<Action> actions_;
  std::vector<std::size_t> free_;  // slots
};

// A machine's clocks. The monotonic one begins anywhere at each start of a process and may run a
// little fast or slow; the wall clock is what somebody last set it to. Nothing reads the wall clock
// but a planted bug.
struct SimClock {
  Micros booted = 0;
  std::uint64_t origin_ms = 0;
  std::int64_t ppm = 0, wall_ms = 0;

  Milliseconds MonotonicMs(Micros now) const {
    const auto passed = static_cast<std::int64_t>(now - booted);
    const std::int64_t skewed = passed + passed / 1'000 * ppm / 1'000;
    return origin_ms + static_cast<std::uint64_t>(skewed) / kMilli;
  }
  Milliseconds WallMs(Micros now) const {
    constexpr std::int64_t kSomeDay = 1'700'000'000'000;
    return static_cast<Milliseconds>(kSomeDay + wall_ms + static_cast<std::int64_t>(now / kMilli));
  }
};

}  // namespace waggle
