// Arbitrary text as recorded rounds of either network: refused, or all of it verified.
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "proofs/beacon/recorded_rounds.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  for (const waggle::DrandNetwork* network : {&waggle::DrandQuicknet(), &waggle::DrandDefault()}) {
    const auto rounds = waggle::RecordedRounds::Parse(*network, text);
    if (rounds) waggle::Check(rounds->size() <= size / 100, "a round is a signature long");
  }
  return 0;
}
