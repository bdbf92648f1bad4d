// A desk's side of a run's PostgreSQL. One thread.
#pragma once

#include <memory>
#include <string>

#include "store/run_store.h"

namespace waggle {

class DeskStore {
 public:
  // Registers `node`, or goes on with its registration if that is still open: then it alone, as a
  // node is a desk once at a time. Blame::kOperator: no PostgreSQL, no run there, the same node at
  // work.
  static Result<std::unique_ptr<DeskStore>> Open(const std::string& where, const Hash256& run,
                                                 const NodeId& node);
  virtual ~DeskStore() = default;

  virtual DeskId id() const = 0;
  // The host has closed this desk: what follows fails, and nothing of what failed has happened.
  virtual bool closed() const = 0;

  // As RunStore's, and: an accepted group must be of a lease that is delegated to this desk and not
  // answered; then the host hears of it.
  virtual Status Commit(const StoreBatch& batch) = 0;
  // Of this desk; after a Sync, which says what is this desk's. superseded: the lease is not any
  // more, or was granted to somebody else later.
  virtual Result<std::vector<OpenGrant>> OpenGrants() = 0;

  // A sign of life, the desk's wish, and what the host did since the last call: policies after
  // `known`; leases that are new, in the first call (and after a connection that broke) all that
  // are not answered.
  virtual Result<HostNews> Sync(std::uint32_t target, std::optional<PolicyVersion> known) = 0;
  // The last word: what it still holds goes to others.
  virtual Status Leave() = 0;
};

}  // namespace waggle
