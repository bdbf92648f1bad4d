// Arbitrary bytes as revealed weights: refused, or written the same again; and whatever they say,
// the book takes or refuses it, and an epoch of it pays out exactly what there is.
#include <algorithm>
#include <cstdint>

#include "base/check.h"
#include "ledger/weights.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace waggle;
  const std::span<const std::uint8_t> bytes(data, size);
  const auto payload = WireDecode<WeightsPayload>(bytes, kWeightsPayloadBytesMax);
  if (!payload) return 0;
  Check(std::ranges::equal(WireEncode(*payload, kWeightsPayloadBytesMax), bytes), "one encoding");
  WeightsBook book({.commit_reveal = false});
  for (std::uint16_t uid = 0; uid < 8; ++uid) Check(book.Register(uid, 0).has_value(), "a place");
  const WeightsSpeaker speaker{.uid = 0, .who = payload->who, .stake = 5, .permit = true};
  if (!book.Set(speaker, *payload, 50)) return 0;
  YumaEpoch epoch = book.Epoch(360, 1);
  epoch.neurons[0].stake = 5;
  epoch.neurons[0].permit = true;
  for (const YumaVersion version : {YumaVersion::k2, YumaVersion::k3}) {
    const auto outcome = RunYuma({.version = version}, epoch);
    Check(outcome.has_value(), "what the book holds is an epoch");
    const YumaEmission split = SplitEmission(*outcome, 1'000'000'007);
    std::uint64_t sum = split.left;
    for (std::size_t i = 0; i < 8; ++i) sum += split.miner[i] + split.validator[i];
    Check(sum == 1'000'000'007, "nothing is made or lost");
  }
  return 0;
}
