// Groups as hosts keep them, for tests in which nobody examines them.
#pragma once

#include "rollout/encoding.h"

namespace waggle {

inline GroupRecord RecordOf(LeaseId lease) {
  GroupRecord record;
  record.lease.id = record.group.lease = lease;
  record.group.prompt = {1, 2};
  Rollout rollout;
  rollout.tokens = {3, 4, 5, 6};
  rollout.logps = {-1, -2, -3, -4};
  rollout.loss_mask = {1, 1, 1, 1};
  rollout.spans = {{0, PolicyVersion{0}}};
  record.group.rollouts = {rollout};
  return record;
}

}  // namespace waggle
