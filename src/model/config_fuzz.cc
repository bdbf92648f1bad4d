// Any bytes as a config.json: refused with a reason, or a shape that is valid and that reads back
// from what we write.
#include "base/check.h"
#include "model/config.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace waggle;
  const auto config = ParseModelConfig({reinterpret_cast<const char*>(data), size});
  if (!config) {
    Check(!config.error().what.empty(), "an error says what is wrong");
    return 0;
  }
  Check(Validate(*config).has_value(), "what is read is valid");
  const std::string written = WriteModelConfig(*config, "float32");
  const auto again = ParseModelConfig(written);
  Check(again.has_value(), "the file we write reads back");
  Check(WriteModelConfig(*again, "float32") == written, "and means the same");
  return 0;
}
