// Listings of states come from strangers: refused with a reason, or the one encoding of what was
// read, within every limit.
#include "audit/steps/state_listing.h"
#include "base/check.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace waggle;
  constexpr std::uint64_t kBytesMax = std::uint64_t{1} << 30;
  const std::span<const std::uint8_t> bytes(data, size);
  const auto listing = DecodeListing(bytes, kBytesMax);
  if (!listing) return 0;
  Check(listing->bytes() <= kBytesMax, "no more than may come");
  Check(listing->files.size() <= kStateFilesMax, "no more files than a state has");
  for (const StateFile& file : listing->files) {
    Check(file.name.find('/') == std::string::npos && file.name.front() != '.',
          "names stay in their folder");
    Check(file.chunks.size() * kStateChunkBytes >= file.bytes, "chunks cover the file");
  }
  Check(Encode(*listing) == Bytes(bytes.begin(), bytes.end()), "one listing, one encoding");
  return 0;
}
