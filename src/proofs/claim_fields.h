// The fields of claims (base/wire.h). For encoders of what carries them.
#pragma once

#include "proofs/claims.h"
#include "rollout/fields.h"

namespace waggle {

template <class T, class V>
requires std::same_as<std::remove_const_t<T>, PolicyClaim>
void Fields(T& x, V&& v) {
  v(1, "run", x.run);
  v(2, "version", x.version);
  v(3, "root", x.root);
  v(4, "description", x.description);
}
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, StepClaim>
void Fields(T& x, V&& v) {
  v(1, "run", x.run);
  v(2, "version", x.version);
  v(3, "before", x.before);
  v(4, "after", x.after);
  v(5, "batch", x.batch);
  v(6, "previous", x.previous);
  v.IfAny(7, "leases", x.leases);
}
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, WindowOrder>
void Fields(T& x, V&& v) {
  v(1, "first", x.first);
  v(2, "leases", x.leases);
}
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, WindowClaim>
void Fields(T& x, V&& v) {
  v(1, "run", x.run);
  v(2, "version", x.version);
  v(3, "root", x.root);
  v(4, "items", x.items);
  v.IfAny(5, "order", x.order);
}
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, AuditClaim>
void Fields(T& x, V&& v) {
  v(1, "run", x.run);
  v(2, "epoch", x.epoch);
  v(3, "batch", x.batch);
  v(4, "index", x.index);
  v(5, "group", x.group);
  v(6, "beacon", x.beacon);
  v(7, "accepted", x.accepted);
  v(8, "reason", x.reason);
  v(9, "rollout", x.rollout);
  v(10, "token", x.token);
  v(11, "activation", x.activation);
}
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, MerklePath>
void Fields(T& x, V&& v) {
  v(1, "index", x.index);
  v(2, "leaves", x.leaves);
  v.Numbers(3, "siblings", x.siblings, kMerkleSiblingsMax);
}

template <class T>
inline constexpr bool kIsSigned = false;
template <class T>
inline constexpr bool kIsSigned<Signed<T>> = true;
template <class T, class V>
requires kIsSigned<std::remove_const_t<T>>
void Fields(T& x, V&& v) {
  v(1, "claim", x.claim);
  v(2, "signature", x.signature);
}

}  // namespace waggle
