// Any bytes as a SentencePiece model or a llama2.c tokenizer (the first byte's lowest bit chooses).
#include <algorithm>

#include "base/check.h"
#include "tokenizer/pipeline.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace waggle;
  if (size == 0) return 0;
  const std::string_view file(reinterpret_cast<const char*>(data) + 1, size - 1);
  auto parts = data[0] % 2 == 0 ? PartsFromSentencePiece(file) : PartsFromLlama2c(file);
  if (!parts) return 0;
  const auto tokenizer = Tokenizer::Impl::Make(std::move(*parts));
  if (!tokenizer) return 0;
  Check(Tokenizer::FromJson(tokenizer->ToJson()).has_value(), "the file we write reads back");
  const auto ids =
      tokenizer->Encode("ab  abba \n\xE4\xBD\xA0 \xFF <s>", {.add_special_tokens = true});
  Check(std::all_of(ids.begin(), ids.end(),
                    [&](TokenId id) {
                      return id >= 0 && static_cast<std::size_t>(id) < tokenizer->vocab_size();
                    }),
        "ids are in the vocabulary");
  (void)tokenizer->Decode(ids);
  return 0;
}
