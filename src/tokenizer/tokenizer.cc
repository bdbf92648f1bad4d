#include "tokenizer/tokenizer.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "tokenizer/pipeline.h"
#include "tokenizer/unicode.h"

namespace waggle {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

Status CheckAdded(const TokenizerParts& parts, const Bpe& bpe) {
  if (parts.added.size() > kAddedTokensMax) {
    return Fail(Blame::kPeer, "added_tokens: {} entries, the limit is {}", parts.added.size(),
                kAddedTokensMax);
  }
  StringIds seen(parts.added.size());
  const auto& tokens = bpe.parts().tokens;
  for (std::size_t i = 0; i < parts.added.size(); ++i) {
    const AddedToken& token = parts.added[i];
    if (token.content.empty() || token.content.size() > kAddedTokenBytesMax) {
      return Fail(Blame::kPeer, "added_tokens[{}].content: {} bytes, not 1..{}", i,
                  token.content.size(), kAddedTokenBytesMax);
    }
    if (token.id < 0 || static_cast<std::size_t>(token.id) >= kVocabMax) {
      return Fail(Blame::kPeer, "added_tokens[{}].id: {} is not an id below {}", i, token.id,
                  kVocabMax);
    }
    const auto at = static_cast<std::size_t>(token.id);
    const TokenId known = bpe.Find(token.content);
    const bool taken = at < tokens.size() && !tokens[at].empty();
    if ((known >= 0 && known != token.id) || (known < 0 && taken)) {
      return Fail(Blame::kPeer, "added_tokens[{}]: '{}' as id {} contradicts model.vocab", i,
                  token.content, token.id);
    }
    if (seen.Insert(token.content, token.id) != StringIds::Added::kNew) {
      return Fail(Blame::kPeer, "added_tokens[{}]: '{}' appears twice", i, token.content);
    }
  }
  return {};
}

}  // namespace

Result<Tokenizer> Tokenizer::Impl::Make(TokenizerParts parts) {
  auto impl = std::make_unique<Impl>();
  for (const AddedToken& token : parts.added) {
    const auto id = static_cast<std::size_t>(token.id);
    if (!token.special || token.id < 0 || id >= parts.model.tokens.size()) continue;
    if (parts.model.special.size() <= id) parts.model.special.resize(id + 1, false);
    parts.model.special[id] = true;
  }
  WG_ASSIGN(impl->bpe, Bpe::Build(std::move(parts.model)));
  parts.model = {};
  WG_TRY(CheckAdded(parts, impl->bpe));
  impl->spellings = impl->bpe.parts().tokens;
  for (std::size_t i = 0; i < parts.added.size(); ++i) {
    const AddedToken& token = parts.added[i];
    const auto id = static_cast<std::size_t>(token.id);
    if (impl->spellings.size() <= id) impl->spellings.resize(id + 1);
    if (impl->special.size() <= id) impl->special.resize(id + 1, false);
    if (!impl->spellings[id].empty() && impl->spellings[id] != token.content) {
      return Fail(Blame::kPeer, "added_tokens[{}].id: {} belongs to '{}' already", i, id,
                  impl->spellings[id]);
    }
    impl->spellings[id] = token.content;
    impl->special[id] = token.special;
    if (!token.normalized) {
      impl->raw.Add(token, token.content);
    } else if (const std::string pattern = Normalize(parts.normalizers, token.content);
               !pattern.empty()) {
      impl->normalized.Add(token, pattern);
    }
  }
  impl->special.resize(impl->spellings.size(), false);
  for (const auto* around : {&parts.before, &parts.after}) {
    for (const TokenId id : *around) {
      if (id < 0 || static_cast<std::size_t>(id) >= impl->spellings.size() ||
          impl->spellings[id].empty()) {
        return Fail(Blame::kPeer, "post_processor: token id {} does not exist", id);
      }
    }
  }
  if (impl->spellings.empty()) return Fail(Blame::kPeer, "model.vocab: no tokens");
  impl->parts = std::move(parts);
  return Tokenizer(std::move(impl));
}

std::size_t Tokenizer::Impl::LeadingStrip(std::string* character) const {
  for (const DecoderStep& step : parts.decoders) {
    if (step.kind == DecoderStep::Kind::kStrip && step.start > 0) {
      *character = step.content;
      return step.start;
    }
    if (step.kind == DecoderStep::Kind::kMetaspace && step.drop_first) {
      character->assign(1, ' ');
      return 1;
    }
  }
  return 0;
}

Tokenizer::Tokenizer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

Result<Tokenizer> Tokenizer::FromJson(std::string_view json) {
  WG_ASSIGN(auto parts, PartsFromJson(json));
  return Impl::Make(std::move(parts));
}

Result<Tokenizer> Tokenizer::FromCharacters(std::span<const std::string> specials,
                                            std::string_view characters) {
  WG_ASSIGN(auto parts, PartsFromCharacters(specials, characters));
  return Impl::Make(std::move(parts));
}

std::vector<TokenId> Tokenizer::Encode(std::string_view text, const EncodeOptions& options) const {
  std::vector<TokenId> out;
  out.reserve(text.size() / 3 + 8);
  const TokenizerParts& parts = impl_->parts;
  if (options.add_special_tokens) out = parts.before;
  impl_->EncodeText(text, options, out);
  if (options.add_special_tokens) out.insert(out.end(), parts.after.begin(), parts.after.end());
  return out;
}

std::string Tokenizer::Decode(std::span<const TokenId> ids, bool skip_special) const {
  std::vector<std::string> tokens;
  tokens.reserve(ids.size());
  for (const TokenId id : ids) {
    const auto at = static_cast<std::size_t>(id);
    if (id < 0 || at >= impl_->spellings.size() || impl_->spellings[at].empty()) continue;
    if (skip_special && impl_->special[at]) continue;
    tokens.push_back(impl_->spellings[at]);
  }
  return RunDecoders(impl_->parts.decoders, std::move(tokens));
}

std::string Tokenizer::TokenBytes(TokenId id) const {
  const auto at = static_cast<std::size_t>(id);
  if (id < 0 || at >= impl_->spellings.size()) return {};
  std::string token = impl_->spellings[at], bytes;
  for (const DecoderStep& step : impl_->parts.decoders) {
    switch (step.kind) {
      case DecoderStep::Kind::kByteLevel:
        if (SpellingToBytes(token, bytes)) token = bytes;
        break;
      case DecoderStep::Kind::kReplace:
        token = RunDecoders({step}, {token});
        break;
      case DecoderStep::Kind::kMetaspace: {
        DecoderStep inside = step;
        inside.drop_first = false;
        token = RunDecoders({inside}, {token});
        break;
      }
      case DecoderStep::Kind::kByteFallback:
        if (const int byte = ParseByteToken(token); byte >= 0)
          return std::string(1, static_cast<char>(byte));
        break;
      case DecoderStep::Kind::kFuse:
      case DecoderStep::Kind::kStrip:
        break;
    }
  }
  return token;
}

std::size_t Tokenizer::vocab_size() const { return impl_->spellings.size(); }

std::optional<TokenId> Tokenizer::Find(std::string_view token) const {
  if (const TokenId id = impl_->bpe.Find(token); id >= 0) return id;
  for (const AddedToken& added : impl_->parts.added) {
    if (added.content == token) return added.id;
  }
  return std::nullopt;
}

bool Tokenizer::IsSpecial(TokenId id) const {
  return id >= 0 && static_cast<std::size_t>(id) < impl_->special.size() && impl_->special[id];
}

std::string Tokenizer::ToJson() const { return PartsToJson(*impl_); }

const std::string& Tokenizer::chat_template() const { return impl_->chat_template; }

std::string StreamingDecoder::Push(TokenId id) {
  std::string bytes = tokenizer_->TokenBytes(id);
  if (bytes.empty()) return {};
  if (first_) {
    first_ = false;
    std::string strip;
    std::size_t left = tokenizer_->impl_->LeadingStrip(&strip);
    for (; left > 0 && bytes.starts_with(strip); --left) bytes.erase(0, strip.size());
  }
  pending_ += bytes;
  const std::size_t complete = unicode::CompletePrefix(pending_);
  std::string out = unicode::Lossy({pending_.data(), complete});
  pending_.erase(0, complete);
  return out;
}

std::string StreamingDecoder::Flush() {
  std::string out = unicode::Lossy(pending_);
  pending_.clear();
  return out;
}

}  // namespace waggle
