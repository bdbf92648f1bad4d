#include "tokenizer/pipeline.h"

#include <algorithm>

#include "tokenizer/unicode.h"

namespace waggle {
namespace {

std::string ReplaceAll(std::string_view text, std::string_view pattern, std::string_view content) {
  std::string out;
  std::size_t from = 0;
  for (std::size_t at; (at = text.find(pattern, from)) != std::string_view::npos;
       from = at + pattern.size()) {
    out += text.substr(from, at - from);
    out += content;
  }
  out += text.substr(from);
  return out;
}

std::string CollapseSpaces(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c != ' ' || out.empty() || out.back() != ' ') out += c;
  }
  return out;
}

std::string_view TrimSpaces(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(' ');
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(' ') + 1 - begin);
}

using Tokens = std::vector<std::string>;

void JoinBytes(Tokens& tokens) {
  std::string all, bytes;
  for (const std::string& token : tokens) all += SpellingToBytes(token, bytes) ? bytes : token;
  tokens = {unicode::Lossy(all)};
}

// Runs of <0xNN>: their text if they are UTF-8, else one U+FFFD for each byte.
void DecodeByteTokens(Tokens& tokens) {
  Tokens out;
  std::string run;
  const auto flush = [&] {
    if (run.empty()) return;
    if (unicode::IsValid(run)) {
      out.push_back(run);
    } else {
      for (std::size_t i = 0; i < run.size(); ++i) out.emplace_back("\xEF\xBF\xBD");
    }
    run.clear();
  };
  for (std::string& token : tokens) {
    if (const int byte = ParseByteToken(token); byte >= 0) {
      run += static_cast<char>(byte);
    } else {
      flush();
      out.push_back(std::move(token));
    }
  }
  flush();
  tokens = std::move(out);
}

void Strip(std::string& token, const DecoderStep& step) {
  std::size_t begin = 0, end = token.size();
  const std::size_t width = step.content.size();
  for (std::size_t i = 0; i < step.start && token.compare(begin, width, step.content) == 0; ++i)
    begin += width;
  for (std::size_t i = 0; i < step.stop && end - begin >= width; ++i) {
    if (token.compare(end - width, width, step.content) != 0) break;
    end -= width;
  }
  token = token.substr(begin, end - begin);
}

}  // namespace

std::string Normalize(const std::vector<Normalizer>& steps, std::string_view text) {
  std::string now(text);
  for (const Normalizer& step : steps) {
    switch (step.kind) {
      case Normalizer::Kind::kNfc:
        if (!unicode::IsPlainNfc(now)) now = unicode::Nfc(now);
        break;
      case Normalizer::Kind::kPrepend:
        if (!now.empty()) now.insert(0, step.content);
        break;
      case Normalizer::Kind::kReplace:
        now = ReplaceAll(now, step.pattern, step.content);
        break;
      case Normalizer::Kind::kTrimSpaces:
        now = std::string(TrimSpaces(now));
        break;
      case Normalizer::Kind::kCollapseSpaces:
        now = CollapseSpaces(now);
        break;
    }
  }
  return now;
}

std::string RunDecoders(const std::vector<DecoderStep>& steps, Tokens tokens) {
  for (const DecoderStep& step : steps) {
    switch (step.kind) {
      case DecoderStep::Kind::kByteLevel:
        JoinBytes(tokens);
        break;
      case DecoderStep::Kind::kReplace:
        for (std::string& token : tokens) token = ReplaceAll(token, step.pattern, step.content);
        break;
      case DecoderStep::Kind::kByteFallback:
        DecodeByteTokens(tokens);
        break;
      case DecoderStep::Kind::kFuse: {
        std::string all;
        for (const std::string& token : tokens) all += token;
        tokens = {std::move(all)};
        break;
      }
      case DecoderStep::Kind::kStrip:
        for (std::string& token : tokens) Strip(token, step);
        break;
      case DecoderStep::Kind::kMetaspace:
        for (std::size_t i = 0; i < tokens.size(); ++i) {
          tokens[i] = ReplaceAll(tokens[i], step.pattern, i == 0 && step.drop_first ? "" : " ");
        }
        break;
    }
  }
  std::string out;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (steps.empty() && i > 0) out += ' ';
    out += tokens[i];
  }
  // Byte tokens may have been decoded to anything: what leaves as text is UTF-8.
  return unicode::IsValid(out) ? out : unicode::Lossy(out);
}

void Tokenizer::Impl::EncodePiece(std::size_t step, std::string_view piece, bool first,
                                  PieceCache& cache, std::vector<TokenId>& out) const {
  if (piece.empty()) return;
  if (step == parts.pre_tokenizers.size()) return bpe.Encode(piece, out, cache);
  const PreTokenizer& now = parts.pre_tokenizers[step];
  std::string changed;
  const auto cut = [&](auto&& next_end) {
    for (std::size_t at = 0; at < piece.size();) {
      const std::size_t end = next_end(at);
      EncodePiece(step + 1, piece.substr(at, end - at), first && at == 0, cache, out);
      at = end;
    }
  };
  switch (now.kind) {
    case PreTokenizer::Kind::kSplit:
      return cut([&](std::size_t at) { return NextPiece(now.family, piece, at); });
    case PreTokenizer::Kind::kDigits:
      return cut([&](std::size_t at) {
        const std::size_t others = DigitsRun(piece, at, false);
        if (others > at) return others;
        return now.individual ? at + unicode::Decode(piece, at).length : DigitsRun(piece, at, true);
      });
    case PreTokenizer::Kind::kByteLevel:
      if (now.add_prefix_space && piece.front() != ' ')
        piece = changed.append(1, ' ').append(piece);
      if (!now.use_regex) return EncodePiece(step + 1, piece, first, cache, out);
      return cut([&](std::size_t at) { return NextPiece(SplitFamily::kGpt2, piece, at); });
    case PreTokenizer::Kind::kMetaspace: {
      changed = ReplaceAll(piece, " ", now.replacement);
      const bool wanted = now.prepend == PreTokenizer::Prepend::kAlways ||
                          (now.prepend == PreTokenizer::Prepend::kFirst && first);
      if (wanted && !changed.starts_with(now.replacement)) changed.insert(0, now.replacement);
      piece = changed;
      if (!now.split) return EncodePiece(step + 1, piece, first, cache, out);
      // MergedWithNext: a piece begins at every mark; of several, all but the last stand alone.
      return cut([&](std::size_t at) {
        return std::min(piece.find(now.replacement, at + 1), piece.size());
      });
    }
  }
}

void Tokenizer::Impl::EncodeText(std::string_view text, const EncodeOptions& options,
                                 std::vector<TokenId>& out) const {
  PieceCache cache(text.size());
  std::vector<AddedSegment> segments, inner;
  const auto split = [&](const AddedTokenMatcher& matcher, std::string_view from,
                         std::vector<AddedSegment>& to) {
    to.clear();
    if (options.encode_special) return matcher.Split(from, to);
    if (!from.empty()) to.push_back({-1, from});
  };
  split(raw, text, segments);
  for (const AddedSegment& segment : segments) {
    if (segment.id >= 0) {
      out.push_back(segment.id);
      continue;
    }
    std::string changed;
    std::string_view plain = segment.text;
    if (!parts.normalizers.empty()) plain = changed = Normalize(parts.normalizers, segment.text);
    split(normalized, plain, inner);
    for (const AddedSegment& piece : inner) {
      if (piece.id >= 0) {
        out.push_back(piece.id);
      } else {
        const bool first = segment.text.data() == text.data() && piece.text.data() == plain.data();
        EncodePiece(0, piece.text, first, cache, out);
      }
    }
  }
}

}  // namespace waggle
