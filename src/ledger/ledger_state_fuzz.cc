// Any bytes as a snapshot: what reads, writes back the same.
#include <algorithm>

#include "base/check.h"
#include "ledger/state.h"

using namespace waggle;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span bytes(data, size);
  const auto state = DecodeState(bytes);
  if (state) Check(std::ranges::equal(Encode(*state), bytes), "one state, one encoding");
  return 0;
}
