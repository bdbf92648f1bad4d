// Leases, groups and files of groups as bytes, in the one encoding (base/wire.h) within the limits
// of rollout/limits.h.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/wire.h"
#include "rollout/limits.h"
#include "rollout/rollout.h"

namespace waggle {

// What is kept of a sampled group: enough to sample it again, or to judge it again.
struct GroupRecord {
  Lease lease;
  Group group;
  bool operator==(const GroupRecord&) const = default;
};

Bytes Encode(const Lease& lease);
Bytes Encode(const Group& group);

// Errors blame the peer and name field and offset.
Result<Lease> DecodeLease(std::span<const std::uint8_t> bytes);
Result<Group> DecodeGroup(std::span<const std::uint8_t> bytes);

// A file of records: kRecordsMagic, then per record its length (u32 LE) and its bytes.
inline constexpr std::string_view kRecordsMagic = "WGLGRP02";
Bytes EncodeRecords(std::span<const GroupRecord> records);
Result<std::vector<GroupRecord>> DecodeRecords(std::span<const std::uint8_t> bytes);

}  // namespace waggle
