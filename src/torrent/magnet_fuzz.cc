// Arbitrary text as a magnet link: refused, or within its limits and read the same again.
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "torrent/magnet.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto magnet =
      waggle::ParseMagnet(std::string_view(reinterpret_cast<const char*>(data), size));
  if (!magnet) return 0;
  waggle::Check(magnet->peers.size() <= waggle::kMagnetPeersMax, "few peers");
  waggle::Check(waggle::ParseMagnet(waggle::ToText(*magnet)) == magnet, "one link, one meaning");
  return 0;
}
