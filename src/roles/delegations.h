// Which desk holds which lease, and how many it would like: the host's view of its desks
// (docs/adr/0017-desks.md). Without I/O.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "run/lease_source.h"
#include "store/desks.h"

namespace waggle {

class Delegations {
 public:
  // What a desk is to the orchestrator. A lease book's workers count from 1.
  static WorkerId WorkerOf(DeskId desk) { return WorkerId{desk.value | std::uint64_t{1} << 63}; }

  struct Held {
    DeskId desk;
    LeaseId lease;
    bool operator==(const Held&) const = default;
  };
  // These and no others are open. Returns what desks held that are gone; to be Taken.
  std::vector<Held> See(const std::vector<DeskSeen>& open);
  // The desk whose turn it is, among those that hold less than they would like; none: nobody does.
  std::optional<DeskId> Next();
  // Whoever holds it keeps it until Take.
  void Give(DeskId desk, const Lease& lease);
  // False: this desk does not hold it.
  bool Take(DeskId desk, LeaseId lease);
  void Count(DeskId desk, std::uint64_t tokens);  // of a group that it accepted
  // Whether each desk should hand back what nobody works on, where that has changed: the host's own
  // workers are idle, or another desk's.
  std::vector<LeasesWantedBack> AskBack(bool host_is_idle);

  bool any() const { return !desks_.empty(); }
  std::size_t held() const;  // leases, of all desks
  struct View {
    DeskSeen seen;
    std::size_t leases = 0;
    std::uint64_t rollouts = 0, accepted = 0, tokens = 0;
  };
  std::vector<View> views() const;  // of open desks

 private:
  struct Desk {
    std::optional<DeskSeen> seen;                   // none: not heard of since a restart, or gone
    std::map<std::uint64_t, std::uint32_t> leases;  // rollouts by lease id
    std::uint64_t rollouts = 0, accepted = 0, tokens = 0;
    bool asked_back = false;
    bool wants() const { return seen && seen->target > rollouts; }
  };
  std::map<DeskId, Desk> desks_;
  DeskId last_;  // whose turn was last
};

}  // namespace waggle
