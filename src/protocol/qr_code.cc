#include "protocol/qr_code.h"

#include <qrencode.h>

#include <cerrno>
#include <cstring>
#include <memory>

namespace waggle {
namespace {

constexpr std::size_t kQuiet = 4;  // modules on each side, as the standard asks

struct FreeCode {
  void operator()(QRcode* code) const { QRcode_free(code); }
};

}  // namespace

Result<QrModules> EncodeQr(std::string_view text) {
  const std::string terminated(text);
  const std::unique_ptr<QRcode, FreeCode> code(
      QRcode_encodeString(terminated.c_str(), /*version=*/0, QR_ECLEVEL_L, QR_MODE_8,
                          /*casesensitive=*/1));
  if (code == nullptr)
    return Fail(Blame::kBug, "no QR code for {} characters: {}", text.size(), std::strerror(errno));
  QrModules modules{.side = static_cast<std::size_t>(code->width), .dark = {}};
  for (std::size_t i = 0; i < modules.side * modules.side; ++i)
    modules.dark.push_back((code->data[i] & 1) != 0);
  return modules;
}

std::string QrText(const QrModules& modules, bool light) {
  const std::size_t side = modules.side + 2 * kQuiet;
  const auto filled = [&](std::size_t x, std::size_t y) {
    const bool inside =
        x >= kQuiet && y >= kQuiet && x - kQuiet < modules.side && y - kQuiet < modules.side;
    const bool dark = inside && modules.At(x - kQuiet, y - kQuiet);
    // Below the last row of an odd number there is nothing to draw.
    return y < side && dark != light;
  };
  static constexpr const char* kBlocks[] = {" ", "\u2580", "\u2584", "\u2588"};
  std::string text;
  for (std::size_t y = 0; y < side; y += 2) {
    for (std::size_t x = 0; x < side; ++x)
      text += kBlocks[(filled(x, y) ? 1 : 0) + (filled(x, y + 1) ? 2 : 0)];
    text += '\n';
  }
  return text;
}

}  // namespace waggle
