// Arbitrary bytes as lease, group and file of records: refused, or the one encoding of what was
// read.
#include "base/check.h"
#include "rollout/encoding.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span<const std::uint8_t> input(data, size);
  const waggle::Bytes bytes(input.begin(), input.end());
  if (const auto lease = waggle::DecodeLease(input))
    waggle::Check(waggle::Encode(*lease) == bytes, "one lease, one encoding");
  if (const auto group = waggle::DecodeGroup(input))
    waggle::Check(waggle::Encode(*group) == bytes, "one group, one encoding");
  if (const auto records = waggle::DecodeRecords(input))
    waggle::Check(waggle::EncodeRecords(*records) == bytes, "one file, one encoding");
  return 0;
}
