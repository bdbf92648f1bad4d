#include "audit/canary_desk.h"

#include <algorithm>

#include "audit/audit_desk.h"
#include "proofs/claims.h"
#include "protocol/limits.h"

namespace waggle {
namespace {

constexpr std::uint64_t kBadOf = 4;  // of so many canaries one is good
constexpr Milliseconds kDelayMsMin = 5, kDelayMsMore = 300;
enum : std::uint8_t { kPlan, kTruth, kIdentity, kSalt, kNothing, kDelay, kDraw };

std::uint64_t NumberFrom(const Digest256& digest, std::size_t at = 0) {
  std::uint64_t number = 0;
  for (std::size_t i = 0; i < 8; ++i) number |= std::uint64_t{digest[at + i]} << (8 * i);
  return number;
}

}  // namespace

CanaryDesk::CanaryDesk(const Signer& host, const LedgerRun& run, const RunTerms& terms,
                       const CanarySettings& settings, std::vector<CanaryBatch> kept)
    : host_(host), run_(run), terms_(terms), settings_(settings) {
  for (CanaryBatch& canary : kept) Committed(std::move(canary));
}

Digest256 CanaryDesk::Secret(std::uint64_t epoch, std::uint8_t of) const {
  Bytes message(run_.value.begin(), run_.value.end());
  for (int i = 0; i < 8; ++i) message.push_back(static_cast<std::uint8_t>(epoch >> (8 * i)));
  message.push_back(of);
  return Sha256(host_.Sign("WGL-CANARY-1", message));
}

bool CanaryDesk::Planned(std::uint64_t epoch) const {
  return on() && NumberFrom(Secret(epoch, kPlan)) % settings_.every == 0;
}
bool CanaryDesk::Bad(std::uint64_t epoch) const {
  return NumberFrom(Secret(epoch, kTruth)) % kBadOf != 0;
}
KeyPair CanaryDesk::IdentityOf(std::uint64_t epoch) const {
  return KeyPair::FromSeed(Secret(epoch, kIdentity));
}
Milliseconds CanaryDesk::Delay(std::uint64_t epoch) const {
  return on() ? kDelayMsMin + NumberFrom(Secret(epoch, kDelay)) % kDelayMsMore : 0;
}

Digest256 CanaryDesk::Commitment(std::uint64_t epoch) const {
  if (!Planned(epoch)) return Secret(epoch, kNothing);
  return CanaryHash(run_, epoch, IdentityOf(epoch).id(), Secret(epoch, kSalt), Bad(epoch));
}

void CanaryDesk::See(std::uint64_t epoch, std::vector<LeaseId> leases, std::size_t workers) {
  if (epoch != epoch_) {
    items_.clear();
    used_.clear();
    asked_.reset();
  }
  epoch_ = epoch;
  seen_ = std::move(leases);
  workers_ = workers;
}

std::size_t CanaryDesk::wanted() const {
  if (workers_ == 0) return 0;
  const std::size_t mean = (seen_.size() + workers_ - 1) / workers_;
  return std::min({mean, std::size_t{settings_.groups_max}, kProtocol.batch_leases_max});
}

bool CanaryDesk::more() const {
  if (!Planned(epoch_) || kept_.contains(epoch_)) return false;
  if (asked_) return true;
  return items_.size() < wanted() &&
         std::ranges::any_of(seen_, [&](LeaseId lease) { return !used_.contains(lease.value); });
}

std::optional<MakeCanaryItem> CanaryDesk::Next() {
  if (asked_ || !more()) return std::nullopt;
  std::vector<LeaseId> free;
  for (const LeaseId lease : seen_) {
    if (!used_.contains(lease.value)) free.push_back(lease);
  }
  const Digest256 draw = Secret(epoch_, static_cast<std::uint8_t>(kDraw + used_.size() % 200));
  const LeaseId lease = free[NumberFrom(draw) % free.size()];
  used_.insert(lease.value);
  asked_ = lease;
  MakeCanaryItem make{.lease = lease, .draw = NumberFrom(draw, 8)};
  if (Bad(epoch_)) make.lie = static_cast<CanaryLie>(1 + draw[16] % 3);
  return make;
}

void CanaryDesk::Made(const CanaryItemMade& made) {
  if (asked_ != made.lease) return;  // of an epoch that is over
  asked_.reset();
  if (made.record) items_.push_back(*made.record);
}

std::optional<CanaryBatch> CanaryDesk::Close(std::uint64_t epoch, const LedgerId& ledger) {
  if (!Planned(epoch) || epoch != epoch_ || items_.empty() || kept_.contains(epoch))
    return std::nullopt;
  const KeyPair identity = IdentityOf(epoch);
  CanaryBatch canary{.bad = Bad(epoch), .items = std::exchange(items_, {})};
  std::ranges::sort(canary.items, {}, [](const GroupRecord& item) { return item.lease.id.value; });
  canary.work.claim = {.run = run_, .epoch = epoch, .worker = identity.id()};
  BatchClaim& claim = canary.work.claim;
  for (const GroupRecord& item : canary.items) {
    canary.work.leases.push_back(item.lease.id);
    canary.work.groups.push_back(GroupHash(item.group));
    const BatchWork work = WorkOf(terms_, item);
    claim.work.rollouts += work.rollouts;
    claim.work.rollout_weight += work.rollout_weight;
    claim.work.token_weight += work.token_weight;
  }
  claim.items = static_cast<std::uint32_t>(canary.items.size());
  claim.root = BatchRoot(canary.work.groups);
  canary.work.signature = SignBatch(identity, ledger, claim);
  return canary;
}

void CanaryDesk::Committed(CanaryBatch canary) {
  identities_.insert(canary.work.claim.worker);
  const std::uint64_t epoch = canary.work.claim.epoch;
  kept_.insert_or_assign(epoch, std::move(canary));
}

const CanaryBatch* CanaryDesk::Find(std::uint64_t epoch, const NodeId& worker) const {
  const auto found = kept_.find(epoch);
  if (found == kept_.end() || found->second.work.claim.worker != worker) return nullptr;
  return &found->second;
}

std::optional<CanaryReveal> CanaryDesk::Reveal(std::uint64_t epoch) {
  const auto found = kept_.find(epoch);
  if (found == kept_.end() || !revealed_.insert(epoch).second) return std::nullopt;
  return CanaryReveal{run_, epoch, found->second.work.claim.worker, Secret(epoch, kSalt),
                      found->second.bad};
}

}  // namespace waggle
