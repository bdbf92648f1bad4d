// SentencePiece models (protobuf) and llama2.c tokenizer files: pieces with scores, the highest
// score merging first.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <numeric>

#include "tokenizer/pipeline.h"
#include "tokenizer/unicode.h"

namespace waggle {
namespace {

constexpr std::string_view kMark = "\xE2\x96\x81";  // U+2581, the visible space
constexpr std::size_t kPieceBytesMax = 256;

struct Piece {
  enum class Type : std::uint8_t {
    kNormal = 1,
    kUnknown = 2,
    kControl = 3,
    kUserDefined = 4,
    kUnused = 5,
    kByte = 6
  };
  std::string text;
  float score = 0;
  Type type = Type::kNormal;
};

struct PieceModel {
  std::vector<Piece> pieces;
  TokenId unknown = 0, bos = 1;
  bool byte_fallback = false;
  bool dummy_prefix = true;
  bool trim_and_collapse = true;  // "remove extra whitespaces"
};

// Every way to cut a piece into two others is a merge, ranked by the score of the whole; equal
// scores share a rank, so the leftmost pair in the text merges first.
Status AddMerges(const PieceModel& model, BpeParts* parts) {
  StringIds ids(model.pieces.size());
  const auto merges = [&](std::size_t i) {
    const auto type = model.pieces[i].type;
    return type == Piece::Type::kNormal || type == Piece::Type::kUserDefined;
  };
  for (std::size_t i = 0; i < model.pieces.size(); ++i) {
    if (!merges(i)) continue;
    if (ids.Insert(model.pieces[i].text, static_cast<TokenId>(i)) != StringIds::Added::kNew) {
      return Fail(Blame::kPeer, "pieces[{}]: '{}' appears twice", i, model.pieces[i].text);
    }
  }
  std::vector<std::size_t> order(model.pieces.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return model.pieces[a].score > model.pieces[b].score;
  });
  std::uint32_t rank = 0;
  for (std::size_t n = 0; n < order.size(); ++n) {
    const Piece& piece = model.pieces[order[n]];
    if (n > 0 && piece.score != model.pieces[order[n - 1]].score) ++rank;
    if (!merges(order[n])) continue;
    for (std::size_t cut = 1; cut < piece.text.size(); ++cut) {
      if ((static_cast<unsigned char>(piece.text[cut]) & 0xC0) == 0x80) continue;
      const TokenId left = ids.Find(std::string_view(piece.text).substr(0, cut));
      const TokenId right = ids.Find(std::string_view(piece.text).substr(cut));
      if (left >= 0 && right >= 0) parts->merges.push_back({left, right, rank});
    }
    if (parts->merges.size() > kMergesMax)
      return Fail(Blame::kPeer, "pieces: more than {} merges", kMergesMax);
  }
  return {};
}

Result<TokenizerParts> PartsOf(PieceModel model) {
  if (model.pieces.size() > kVocabMax) return Fail(Blame::kPeer, "pieces: more than {}", kVocabMax);
  TokenizerParts parts;
  BpeParts& bpe = parts.model;
  bpe.byte_fallback = model.byte_fallback;
  bpe.fuse_unknown = true;
  bpe.unknown = model.unknown;
  WG_TRY(AddMerges(model, &bpe));
  for (std::size_t i = 0; i < model.pieces.size(); ++i) {
    Piece& piece = model.pieces[i];
    const bool special = piece.type == Piece::Type::kUnknown || piece.type == Piece::Type::kControl;
    if (special || piece.type == Piece::Type::kUserDefined) {
      parts.added.push_back(
          {.id = static_cast<TokenId>(i), .content = piece.text, .special = special});
    }
    bpe.tokens.push_back(std::move(piece.text));
  }
  if (model.trim_and_collapse) {
    parts.normalizers.push_back({.kind = Normalizer::Kind::kTrimSpaces});
    parts.normalizers.push_back({.kind = Normalizer::Kind::kCollapseSpaces});
  }
  if (model.dummy_prefix) {
    parts.normalizers.push_back(
        {.kind = Normalizer::Kind::kPrepend, .content = std::string(kMark)});
  }
  parts.normalizers.push_back(
      {.kind = Normalizer::Kind::kReplace, .pattern = " ", .content = std::string(kMark)});
  using Kind = DecoderStep::Kind;
  parts.decoders.push_back({.kind = Kind::kReplace, .pattern = std::string(kMark), .content = " "});
  parts.decoders.push_back({.kind = Kind::kByteFallback});
  parts.decoders.push_back({.kind = Kind::kFuse});
  if (model.dummy_prefix)
    parts.decoders.push_back({.kind = Kind::kStrip, .content = " ", .start = 1});
  if (model.bos >= 0) parts.before.push_back(model.bos);
  return parts;
}

// Protobuf wire format, the little of it that a model file uses.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}
  bool done() const { return at_ >= bytes_.size(); }

  struct Field {
    std::uint64_t number = 0, value = 0;  // value: varint or raw fixed
    unsigned wire = 0;                    // 0 varint, 1 fixed64, 2 bytes, 5 fixed32
    std::string_view bytes;
  };
  Result<Field> Next() {
    const std::size_t start = at_;
    const auto broken = [&] {
      return Fail(Blame::kPeer, "SentencePiece model: broken field at byte {}", start);
    };
    Field field;
    std::uint64_t tag = 0;
    if (!Varint(&tag)) return broken();
    field.number = tag >> 3;
    field.wire = static_cast<unsigned>(tag & 7);
    std::uint64_t length = field.wire == 1 ? 8 : field.wire == 5 ? 4 : 0;
    if (field.wire == 0) {
      if (!Varint(&field.value)) return broken();
      return field;
    }
    if (field.wire == 2 && !Varint(&length)) return broken();
    if ((field.wire != 1 && field.wire != 2 && field.wire != 5) || length > bytes_.size() - at_)
      return broken();
    field.bytes = bytes_.substr(at_, static_cast<std::size_t>(length));
    at_ += static_cast<std::size_t>(length);
    if (field.wire != 2) std::memcpy(&field.value, field.bytes.data(), field.bytes.size());
    return field;
  }

 private:
  bool Varint(std::uint64_t* value) {
    for (unsigned shift = 0; shift < 64 && at_ < bytes_.size(); shift += 7) {
      const auto byte = static_cast<unsigned char>(bytes_[at_++]);
      *value |= std::uint64_t{byte & 0x7Fu} << shift;
      if (byte < 0x80) return true;
    }
    return false;
  }
  std::string_view bytes_;
  std::size_t at_ = 0;
};

template <class Visit>
Status ForEachField(std::string_view message, Visit visit) {
  for (Reader reader(message); !reader.done();) {
    WG_ASSIGN(const Reader::Field field, reader.Next());
    WG_TRY(visit(field));
  }
  return {};
}

Status ReadPiece(std::string_view message, std::size_t index, Piece* piece) {
  WG_TRY(ForEachField(message, [&](const Reader::Field& field) -> Status {
    if (field.number == 1 && field.wire == 2) piece->text = field.bytes;
    if (field.number == 2 && field.wire == 5) {
      piece->score = std::bit_cast<float>(static_cast<std::uint32_t>(field.value));
    }
    if (field.number == 3 && field.wire == 0) {
      if (field.value < 1 || field.value > 6)
        return Fail(Blame::kPeer, "pieces[{}].type: {}", index, field.value);
      piece->type = static_cast<Piece::Type>(field.value);
    }
    return {};
  }));
  if (piece->text.empty() || piece->text.size() > kPieceBytesMax ||
      !unicode::IsValid(piece->text)) {
    return Fail(Blame::kPeer, "pieces[{}].piece: not 1..{} bytes of UTF-8", index, kPieceBytesMax);
  }
  if (!std::isfinite(piece->score))
    return Fail(Blame::kPeer, "pieces[{}].score: not finite", index);
  return {};
}

// TrainerSpec: 3 model_type, 35 byte_fallback, 40 unk_id, 41 bos_id.
Status ReadTrainer(std::string_view message, PieceModel* model) {
  return ForEachField(message, [&](const Reader::Field& field) -> Status {
    if (field.wire != 0) return {};
    if (field.number == 3 && field.value != 2) {
      return Fail(Blame::kPeer, "trainer_spec.model_type: {} is not supported, only 2 (BPE)",
                  field.value);
    }
    if (field.number == 35) model->byte_fallback = field.value != 0;
    const auto id = static_cast<std::int64_t>(field.value);
    if (field.number == 40 || field.number == 41) {
      if (id < -1 || id >= static_cast<std::int64_t>(kVocabMax)) {
        return Fail(Blame::kPeer, "trainer_spec: the id {} is out of range", id);
      }
      (field.number == 40 ? model->unknown : model->bos) = static_cast<TokenId>(id);
    }
    return {};
  });
}

// NormalizerSpec: 2 precompiled_charsmap, 3 add_dummy_prefix, 4 remove_extra_whitespaces, 5
// escape_whitespaces.
Status ReadNormalizer(std::string_view message, PieceModel* model) {
  return ForEachField(message, [&](const Reader::Field& field) -> Status {
    if (field.number == 2 && !field.bytes.empty()) {
      return Fail(Blame::kPeer,
                  "normalizer_spec.precompiled_charsmap is not supported, only the identity");
    }
    if (field.wire != 0) return {};
    if (field.number == 3) model->dummy_prefix = field.value != 0;
    if (field.number == 4) model->trim_and_collapse = field.value != 0;
    if (field.number == 5 && field.value == 0) {
      return Fail(Blame::kPeer, "normalizer_spec.escape_whitespaces: false is not supported");
    }
    return {};
  });
}

}  // namespace

// ModelProto: 1 pieces, 2 trainer_spec, 3 normalizer_spec.
Result<TokenizerParts> PartsFromSentencePiece(std::string_view file) {
  PieceModel model;
  bool trained = false;
  WG_TRY(ForEachField(file, [&](const Reader::Field& field) -> Status {
    if (field.wire != 2) return {};
    if (field.number == 1) {
      if (model.pieces.size() >= kVocabMax)
        return Fail(Blame::kPeer, "pieces: more than {}", kVocabMax);
      model.pieces.emplace_back();
      return ReadPiece(field.bytes, model.pieces.size() - 1, &model.pieces.back());
    }
    trained |= field.number == 2;
    if (field.number == 2) return ReadTrainer(field.bytes, &model);
    return field.number == 3 ? ReadNormalizer(field.bytes, &model) : Status{};
  }));
  // The default model type is unigram, so a file that does not say is not a BPE.
  if (!trained) return Fail(Blame::kPeer, "SentencePiece model: no trainer_spec");
  return PartsOf(std::move(model));
}

// int32 max_token_length, then per id float32 score, int32 length, bytes; ids 0, 1, 2 are unknown,
// BOS, EOS.
Result<TokenizerParts> PartsFromLlama2c(std::string_view file) {
  PieceModel model;
  model.byte_fallback = true;
  model.trim_and_collapse = false;
  std::size_t at = 4;
  while (at < file.size()) {
    const std::size_t index = model.pieces.size();
    std::int32_t length = 0;
    float score = 0;
    if (file.size() - at < 8) return Fail(Blame::kPeer, "token {}: cut off at byte {}", index, at);
    std::memcpy(&score, file.data() + at, 4);
    std::memcpy(&length, file.data() + at + 4, 4);
    at += 8;
    if (length < 1 || length > static_cast<std::int32_t>(kPieceBytesMax) ||
        static_cast<std::size_t>(length) > file.size() - at) {
      return Fail(Blame::kPeer, "token {}: length {} at byte {}", index, length, at - 4);
    }
    Piece piece{std::string(file.substr(at, static_cast<std::size_t>(length))), score,
                Piece::Type::kNormal};
    at += static_cast<std::size_t>(length);
    if (!std::isfinite(score) || !unicode::IsValid(piece.text)) {
      return Fail(Blame::kPeer, "token {}: not UTF-8 with a finite score", index);
    }
    if (index < 3) {
      piece.type = index == 0 ? Piece::Type::kUnknown : Piece::Type::kControl;
      std::erase(piece.text, '\n');  // special names come wrapped in newlines
    } else if (ParseByteToken(piece.text) >= 0) {
      piece.type = Piece::Type::kByte;
    }
    for (std::size_t space; (space = piece.text.find(' ')) != std::string::npos;)
      piece.text.replace(space, 1, kMark);
    if (piece.text.empty()) return Fail(Blame::kPeer, "token {}: empty", index);
    model.pieces.push_back(std::move(piece));
    if (model.pieces.size() > kVocabMax)
      return Fail(Blame::kPeer, "more than {} tokens", kVocabMax);
  }
  if (model.pieces.size() < 3)
    return Fail(Blame::kPeer, "{} tokens, too few for a vocabulary", model.pieces.size());
  return PartsOf(std::move(model));
}

}  // namespace waggle
