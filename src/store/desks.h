// Desks: further processes that take volunteers for a run and share its PostgreSQL with the host
// (docs/adr/0017-desks.md). What the two tell each other, as values.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "crypto/identity.h"
#include "rollout/encoding.h"

namespace waggle {

// One registration of a desk; what was closed is never opened again, its node registers anew.
using DeskId = Strong<std::uint64_t, struct DeskIdTag>;
inline constexpr DeskId kHostDesk{0};

// Entries of the host.
struct LeaseDelegated {  // this desk's to have sampled, and nobody else's until it says how it
                         // ended
  DeskId desk;
  Lease lease;
  bool operator==(const LeaseDelegated&) const = default;
};
struct DelegationEnded {  // the host took note of what the desk said
  LeaseId lease;
  bool accepted = false;  // with a group: it arrived now
  bool operator==(const DelegationEnded&) const = default;
};
struct LeasesWantedBack {  // others are idle: what nobody works on at this desk
  DeskId desk;
  bool wanted = false;
  bool operator==(const LeasesWantedBack&) const = default;
};
// A version that is out: its manifests, from the version before it and from nothing.
struct PolicyTold {
  PolicyVersion version;
  std::optional<Hash256> update, snapshot;
  bool operator==(const PolicyTold&) const = default;
};
// Entry of a desk.
struct LeaseHandedBack {
  LeaseId lease;
  bool operator==(const LeaseHandedBack&) const = default;
};
using DeskEntry =
    std::variant<LeaseDelegated, DelegationEnded, LeasesWantedBack, PolicyTold, LeaseHandedBack>;

// A desk that is open, as the host sees it.
struct DeskSeen {
  DeskId desk;
  NodeId node;
  std::uint32_t target = 0;     // rollouts that it would like to hold in all
  std::uint64_t silent_ms = 0;  // by the database's clock, while the database was up
  bool operator==(const DeskSeen&) const = default;
};
// How a delegation ended: with a group that the desk accepted, or handed back without.
struct DeskReturn {
  DeskId desk;
  LeaseId lease;
  std::optional<GroupRecord> accepted;
  bool operator==(const DeskReturn&) const = default;
};
struct DeskNews {
  std::vector<DeskSeen> open;  // all of them
  std::vector<DeskReturn> returns;
};

// What the host did, as a desk sees it.
struct HostNews {
  bool wanted_back = false;
  bool over = false;  // the run
  std::vector<Lease> leases;
  std::vector<PolicyTold> policies;  // ascending
};

}  // namespace waggle
