// The one encoding of the protocol's values: what is stored, hashed and (later) signed and sent.
// One value, one sequence of bytes.
//
// A value is its fields in ascending number, every field present:   number u8 | length u32 LE |
// payload Integers and floats are little endian, enums one byte, vectors their elements end to end,
// structs nest. Fields are append only: a number is never reused. Unknown, missing, repeated or
// disordered fields, wrong lengths, and values past limits.h are refused. Floats must be finite:
// NaN payloads differ between machines.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "rollout/limits.h"
#include "rollout/rollout.h"

namespace waggle {

using Bytes = std::vector<std::uint8_t>;

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

// A file of records: "WGLGRP01", then per record its length (u32 LE) and its bytes.
Bytes EncodeRecords(std::span<const GroupRecord> records);
Result<std::vector<GroupRecord>> DecodeRecords(std::span<const std::uint8_t> bytes);

}  // namespace waggle
