// Strangers' texts and messages: what is read is within its limits, and reads the same again.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "torrent/magnet.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto magnet =
      waggle::ParseMagnet(std::string_view(reinterpret_cast<const char*>(data), size));
  if (!magnet) return 0;
  if (magnet->peers.size() > waggle::kMagnetPeersMax) std::abort();
  if (waggle::ParseMagnet(waggle::ToText(*magnet)) != magnet) std::abort();
  return 0;
}
