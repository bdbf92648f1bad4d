// Arbitrary bytes as a manifest: refused, or the one encoding of what was read.
#include "base/check.h"
#include "policy/manifest.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span<const std::uint8_t> input(data, size);
  const auto manifest = waggle::DecodeManifest(input);
  if (!manifest) return 0;
  waggle::Check(waggle::Encode(*manifest) == waggle::Bytes(input.begin(), input.end()),
                "one manifest, one encoding");
  std::uint64_t bytes = 0;
  for (std::size_t i = 0; i < manifest->chunks.size(); ++i) bytes += manifest->ChunkSize(i);
  waggle::Check(bytes == manifest->payload_bytes, "chunks cover the payload");
  return 0;
}
