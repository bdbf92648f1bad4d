// Arbitrary bytes as a TOPLOC proof: refused, or one value with one encoding, which both profiles
// compare with activations without harm.
#include "base/check.h"
#include "proofs/fingerprint/toploc.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace waggle;
  const std::span<const std::uint8_t> input(data, size);
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto parsed = ParseToplocText(text))
    Check(ToplocText(*parsed) == text, "one proof, one text");
  const auto proof = DecodeToploc(input);
  if (!proof) return 0;
  Check(EncodeToploc(*proof) == Bytes(input.begin(), input.end()), "one proof, one encoding");
  std::vector<std::uint16_t> words(200);
  for (std::size_t i = 0; i < words.size(); ++i)
    words[i] = static_cast<std::uint16_t>(0x3F00 + i * 7 + (i % 3) * 0x8000);
  for (const auto profile : {ToplocProfile::kPaper, ToplocProfile::kPlus}) {
    if (const auto scores = CompareToploc(*proof, words, profile)) {
      Check(scores->exponents <= scores->mismatches && scores->mismatches <= scores->points,
            "a sign can only add to what differs");
      ToplocAccepts(*scores, profile);
    }
  }
  return 0;
}
