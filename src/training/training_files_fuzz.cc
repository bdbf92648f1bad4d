// The text formats that training reads: SFT JSON lines and fault dumps.
#include "training/fault_dump.h"
#include "training/sft_data.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  waggle::SftReadOptions options;
  options.encode = [](std::string_view part) {
    return std::vector<waggle::TokenId>(part.begin(), part.end());
  };
  options.tokens_max = 64;
  (void)waggle::ParseSftJsonl(text, "fuzz", options);
  (void)waggle::ParseFaultDump(text, "fuzz");
  (void)waggle::ParseCursor(text);
  return 0;
}
