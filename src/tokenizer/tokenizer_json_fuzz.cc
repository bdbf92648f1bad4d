// Any bytes as a tokenizer.json: refused, or a tokenizer that encodes, decodes and writes a file
// that reads back.
#include <algorithm>

#include "base/check.h"
#include "tokenizer/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace waggle;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const auto tokenizer = Tokenizer::FromJson(input);
  if (!tokenizer) {
    Check(!tokenizer.error().what.empty(), "an error says what is wrong");
    return 0;
  }
  const auto again = Tokenizer::FromJson(tokenizer->ToJson());
  Check(again.has_value(), "the file we write reads back");
  const std::string_view texts[] = {"a  b\n 12 it's <s> \xE2\x96\x81 \xFF", input.substr(0, 200)};
  for (const std::string_view text : texts) {
    for (const bool flag : {false, true}) {
      const EncodeOptions options{.add_special_tokens = flag, .encode_special = flag};
      const auto ids = tokenizer->Encode(text, options);
      Check(again->Encode(text, options) == ids, "and means the same");
      Check(std::all_of(ids.begin(), ids.end(),
                        [&](TokenId id) {
                          return id >= 0 && static_cast<std::size_t>(id) < tokenizer->vocab_size();
                        }),
            "ids are in the vocabulary");
      (void)tokenizer->Decode(ids, flag);
      StreamingDecoder stream(*tokenizer);
      for (const TokenId id : ids) (void)stream.Push(id);
      (void)stream.Flush();
    }
  }
  return 0;
}
