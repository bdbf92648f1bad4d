// One token per character: the tokenizer of tiny task models.
#include "tokenizer/pipeline.h"
#include "tokenizer/unicode.h"

namespace waggle {

Result<TokenizerParts> PartsFromCharacters(std::span<const std::string> specials,
                                           std::string_view characters) {
  TokenizerParts parts;
  BpeParts& model = parts.model;
  for (const std::string& special : specials) {
    const auto id = static_cast<TokenId>(model.tokens.size());
    if (!unicode::IsValid(special)) return Fail(Blame::kOperator, "specials[{}]: not UTF-8", id);
    if (special == "<unk>" || special == "[UNK]" || special == "U") model.unknown = id;
    model.tokens.push_back(special);
    parts.added.push_back({.id = id, .content = special});
  }
  for (std::size_t at = 0; at < characters.size();) {
    const unicode::Char c = unicode::Decode(characters, at);
    if (c.code_point == unicode::kInvalid)
      return Fail(Blame::kOperator, "characters: not UTF-8 at byte {}", at);
    model.tokens.emplace_back(characters.substr(at, c.length));
    at += c.length;
  }
  parts.decoders.push_back({.kind = DecoderStep::Kind::kFuse});
  return parts;
}

}  // namespace waggle
