// Arbitrary text as an exported tile: refused by name, or run inside of its memory.
#include "base/check.h"
#include "proofs/dispute/tile_export.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace waggle;
  const auto tile = ParseTileExport({reinterpret_cast<const char*>(data), size});
  if (!tile) {
    Check(tile.error().blame == Blame::kPeer, "a malformed export is its sender's");
    return 0;
  }
  const auto again = ParseTileExport(WriteTileExport(*tile));
  Check(again && *again == *tile, "what we write reads back");
  // Small programs only: loops may ask for more work than a fuzzer has.
  if (WorkOf(tile->code) < 100000) (void)CheckTileExport(*tile);
  return 0;
}
