// tokenizer.json to TokenizerParts. What would change results and is not implemented is refused.
#include <algorithm>

#include "tokenizer/json_tree.h"
#include "tokenizer/pipeline.h"
#include "tokenizer/unicode.h"

namespace waggle {
namespace {

using Type = JsonValue::Type;

tl::unexpected<Error> Refuse(std::string_view field, std::string_view what) {
  return Fail(Blame::kPeer, "tokenizer.json: {}: {}", field, what);
}

// Readers of optional members: absent or null gives the default, another type is an error.
Result<bool> ReadBool(JsonValue object, std::string_view field, std::string_view name,
                      bool otherwise) {
  const JsonValue value = object[name];
  if (value.IsNull()) return otherwise;
  if (value.type() != Type::kBool)
    return Refuse(field, fmt::format("'{}' is not true or false", name));
  return value.boolean();
}
Result<std::string> ReadString(JsonValue object, std::string_view field, std::string_view name) {
  const JsonValue value = object[name];
  if (value.IsNull()) return std::string();
  if (value.type() != Type::kString)
    return Refuse(field, fmt::format("'{}' is not a string", name));
  return std::string(value.text());
}
Result<std::size_t> ReadSmall(JsonValue object, std::string_view field, std::string_view name) {
  const JsonValue value = object[name];
  if (value.IsNull()) return 0;
  if (value.type() != Type::kInteger || value.integer() < 0 || value.integer() > 1000) {
    return Refuse(field, fmt::format("'{}' is not a number from 0 to 1000", name));
  }
  return static_cast<std::size_t>(value.integer());
}
Result<TokenId> ReadId(JsonValue value, std::string_view field) {
  if (value.type() != Type::kInteger || value.integer() < 0 ||
      value.integer() >= static_cast<std::int64_t>(kVocabMax)) {
    return Refuse(field, fmt::format("not an id from 0 to {}", kVocabMax - 1));
  }
  return static_cast<TokenId>(value.integer());
}

constexpr std::size_t kStepsMax = 16;   // of a section
constexpr std::size_t kGrowthMax = 64;  // how much longer all replacements together may make a text

bool IsOneCharacter(const std::string& text) {
  return !text.empty() && unicode::IsValid(text) && unicode::Decode(text, 0).length == text.size();
}

// Several replacements in a row multiply: a file must not turn one letter into gigabytes.
template <class Step>
Status CheckGrowth(const std::vector<Step>& steps, const char* section) {
  if (steps.size() > kStepsMax)
    return Refuse(section, fmt::format("more than {} steps", kStepsMax));
  std::size_t growth = 1;
  for (const Step& step : steps) {
    if (step.kind != Step::Kind::kReplace) continue;
    growth *= std::max<std::size_t>(
        1, (step.content.size() + step.pattern.size() - 1) / step.pattern.size());
    if (growth > kGrowthMax)
      return Refuse(section, fmt::format("replacements grow a text over {} times", kGrowthMax));
  }
  return {};
}

// A section is null, one step, or a Sequence: calls read(step, type, field) for each step in order.
template <class Read>
Status ForEachStep(JsonValue section, const std::string& field, std::string_view list, Read& read,
                   int depth = 0) {
  if (section.IsNull()) return {};
  WG_ASSIGN(const std::string type, ReadString(section, field, "type"));
  if (type != "Sequence") return read(section, type, field);
  const JsonValue steps = section[list];
  if (steps.type() != Type::kArray || steps.size() > 32 || depth > 3) {
    return Refuse(field, fmt::format("'{}' is not a short list of steps", list));
  }
  std::size_t index = 0;
  return steps.ForEach([&](JsonValue step) {
    return ForEachStep(step, fmt::format("{}.{}[{}]", field, list, index++), list, read, depth + 1);
  });
}

// {"String": "..."} or {"Regex": "..."}; sets one of the two.
Status ReadPattern(JsonValue step, const std::string& field, std::string* string,
                   std::string* regex) {
  const JsonValue pattern = step["pattern"];
  WG_ASSIGN(*string, ReadString(pattern, field + ".pattern", "String"));
  WG_ASSIGN(*regex, ReadString(pattern, field + ".pattern", "Regex"));
  if (string->empty() == regex->empty())
    return Refuse(field, "'pattern' is not one non-empty String or Regex");
  return {};
}

Status ReadNormalizer(JsonValue step, const std::string& type, const std::string& field,
                      Normalizer* out) {
  using Kind = Normalizer::Kind;
  if (type == "NFC") {
    out->kind = Kind::kNfc;
  } else if (type == "Prepend") {
    out->kind = Kind::kPrepend;
    WG_ASSIGN(out->content, ReadString(step, field, "prepend"));
    if (out->content.size() > 64) return Refuse(field, "'prepend' is longer than 64 bytes");
  } else if (type == "Replace") {
    std::string regex;
    WG_TRY(ReadPattern(step, field, &out->pattern, &regex));
    WG_ASSIGN(out->content, ReadString(step, field, "content"));
    out->kind = Kind::kReplace;
    if (regex.empty()) return {};
    if (regex == kTrimRegex && out->content.empty()) {
      out->kind = Kind::kTrimSpaces;
    } else if (regex == kCollapseRegex && out->content == " ") {
      out->kind = Kind::kCollapseSpaces;
    } else {
      return Refuse(field, fmt::format("the regular expression '{}' is not supported", regex));
    }
  } else {
    return Refuse(field, fmt::format("normalizer '{}' is not supported", type));
  }
  return {};
}

Status ReadSplit(JsonValue step, const std::string& field, PreTokenizer* out) {
  std::string string, regex;
  WG_TRY(ReadPattern(step, field, &string, &regex));
  WG_ASSIGN(const std::string behavior, ReadString(step, field, "behavior"));
  WG_ASSIGN(const bool invert, ReadBool(step, field, "invert", false));
  const auto family = FamilyOfRegex(regex);
  if (!family) {
    return Refuse(field, fmt::format("the split pattern '{}' is not supported",
                                     regex.empty() ? string : regex));
  }
  // The three patterns match every character, so isolating the matches and removing what is no
  // match are the same.
  if (!(behavior == "Isolated" && !invert) && !(behavior == "Removed" && invert)) {
    return Refuse(field,
                  fmt::format("behavior '{}' with invert {} is not supported", behavior, invert));
  }
  out->kind = PreTokenizer::Kind::kSplit;
  out->family = *family;
  return {};
}

Status ReadMetaspaceScheme(JsonValue step, const std::string& field, PreTokenizer::Prepend* out) {
  using Prepend = PreTokenizer::Prepend;
  WG_ASSIGN(const std::string scheme, ReadString(step, field, "prepend_scheme"));
  WG_ASSIGN(const bool add_prefix_space, ReadBool(step, field, "add_prefix_space", true));
  if (scheme.empty()) {
    *out = add_prefix_space ? Prepend::kAlways : Prepend::kNever;
  } else if (scheme == "always" || scheme == "first" || scheme == "never") {
    *out = scheme == "always"  ? Prepend::kAlways
           : scheme == "first" ? Prepend::kFirst
                               : Prepend::kNever;
  } else {
    return Refuse(field, fmt::format("prepend_scheme '{}' is not supported", scheme));
  }
  return {};
}

Status ReadPreTokenizer(JsonValue step, const std::string& type, const std::string& field,
                        PreTokenizer* out) {
  using Kind = PreTokenizer::Kind;
  if (type == "ByteLevel") {
    out->kind = Kind::kByteLevel;
    WG_ASSIGN(out->add_prefix_space, ReadBool(step, field, "add_prefix_space", true));
    WG_ASSIGN(out->use_regex, ReadBool(step, field, "use_regex", true));
  } else if (type == "Split") {
    return ReadSplit(step, field, out);
  } else if (type == "Digits") {
    out->kind = Kind::kDigits;
    WG_ASSIGN(out->individual, ReadBool(step, field, "individual_digits", false));
  } else if (type == "Metaspace") {
    out->kind = Kind::kMetaspace;
    WG_ASSIGN(out->replacement, ReadString(step, field, "replacement"));
    if (!IsOneCharacter(out->replacement))
      return Refuse(field, "'replacement' is not one character");
    WG_TRY(ReadMetaspaceScheme(step, field, &out->prepend));
    WG_ASSIGN(out->split, ReadBool(step, field, "split", true));
  } else {
    return Refuse(field, fmt::format("pre-tokenizer '{}' is not supported", type));
  }
  return {};
}

Status ReadDecoder(JsonValue step, const std::string& type, const std::string& field,
                   DecoderStep* out) {
  using Kind = DecoderStep::Kind;
  if (type == "ByteLevel") {
    out->kind = Kind::kByteLevel;
  } else if (type == "ByteFallback") {
    out->kind = Kind::kByteFallback;
  } else if (type == "Fuse") {
    out->kind = Kind::kFuse;
  } else if (type == "Replace") {
    out->kind = Kind::kReplace;
    std::string regex;
    WG_TRY(ReadPattern(step, field, &out->pattern, &regex));
    if (!regex.empty()) return Refuse(field, "a Regex pattern is not supported");
    WG_ASSIGN(out->content, ReadString(step, field, "content"));
  } else if (type == "Strip") {
    out->kind = Kind::kStrip;
    WG_ASSIGN(out->content, ReadString(step, field, "content"));
    if (!IsOneCharacter(out->content)) return Refuse(field, "'content' is not one character");
    WG_ASSIGN(out->start, ReadSmall(step, field, "start"));
    WG_ASSIGN(out->stop, ReadSmall(step, field, "stop"));
  } else if (type == "Metaspace") {
    out->kind = Kind::kMetaspace;
    WG_ASSIGN(out->pattern, ReadString(step, field, "replacement"));
    if (!IsOneCharacter(out->pattern)) return Refuse(field, "'replacement' is not one character");
    PreTokenizer::Prepend prepend;
    WG_TRY(ReadMetaspaceScheme(step, field, &prepend));
    out->drop_first = prepend != PreTokenizer::Prepend::kNever;
  } else {
    return Refuse(field, fmt::format("decoder '{}' is not supported", type));
  }
  return {};
}

Status ReadTemplate(JsonValue step, const std::string& field, TokenizerParts* parts) {
  const JsonValue single = step["single"];
  if (single.type() != Type::kArray || single.size() > 64)
    return Refuse(field, "'single' is not a short list");
  bool seen_text = false;
  WG_TRY(single.ForEach([&](JsonValue piece) -> Status {
    if (const JsonValue sequence = piece["Sequence"]; sequence.Exists()) {
      if (seen_text) return Refuse(field, "'single' holds the sequence twice");
      seen_text = true;
      return {};
    }
    WG_ASSIGN(const std::string name, ReadString(piece["SpecialToken"], field + ".single", "id"));
    const JsonValue ids = step["special_tokens"][name]["ids"];
    if (name.empty() || ids.type() != Type::kArray || ids.size() > 64) {
      return Refuse(field,
                    fmt::format("'single' names '{}', which special_tokens does not define", name));
    }
    return ids.ForEach([&](JsonValue value) -> Status {
      WG_ASSIGN(const TokenId id, ReadId(value, field + ".special_tokens"));
      (seen_text ? parts->after : parts->before).push_back(id);
      return {};
    });
  }));
  if (!seen_text) return Refuse(field, "'single' does not hold the sequence");
  return {};
}

Status ReadSections(JsonValue root, TokenizerParts* parts) {
  auto normalizer = [&](JsonValue step, const std::string& type,
                        const std::string& field) -> Status {
    Normalizer out;
    WG_TRY(ReadNormalizer(step, type, field, &out));
    parts->normalizers.push_back(std::move(out));
    return {};
  };
  WG_TRY(ForEachStep(root["normalizer"], "normalizer", "normalizers", normalizer));
  WG_TRY(CheckGrowth(parts->normalizers, "normalizer"));
  auto pre_tokenizer = [&](JsonValue step, const std::string& type,
                           const std::string& field) -> Status {
    if (parts->model.byte_level) return Refuse(field, "a step after ByteLevel is not supported");
    if (parts->pre_tokenizers.size() >= kStepsMax)
      return Refuse(field, fmt::format("more than {} steps", kStepsMax));
    PreTokenizer out;
    WG_TRY(ReadPreTokenizer(step, type, field, &out));
    parts->model.byte_level = out.kind == PreTokenizer::Kind::kByteLevel;
    parts->pre_tokenizers.push_back(std::move(out));
    return {};
  };
  WG_TRY(ForEachStep(root["pre_tokenizer"], "pre_tokenizer", "pretokenizers", pre_tokenizer));
  auto decoder = [&](JsonValue step, const std::string& type, const std::string& field) -> Status {
    DecoderStep out;
    WG_TRY(ReadDecoder(step, type, field, &out));
    parts->decoders.push_back(std::move(out));
    return {};
  };
  WG_TRY(ForEachStep(root["decoder"], "decoder", "decoders", decoder));
  WG_TRY(CheckGrowth(parts->decoders, "decoder"));
  bool have_template = false;
  auto post_processor = [&](JsonValue step, const std::string& type,
                            const std::string& field) -> Status {
    if (type == "ByteLevel") return {};  // only moves offsets
    if (type != "TemplateProcessing" || have_template) {
      return Refuse(field, fmt::format("post-processor '{}' is not supported here", type));
    }
    have_template = true;
    return ReadTemplate(step, field, parts);
  };
  return ForEachStep(root["post_processor"], "post_processor", "processors", post_processor);
}

Status ReadVocab(JsonValue vocab, BpeParts* model) {
  if (vocab.type() != Type::kObject) return Refuse("model.vocab", "not an object");
  if (vocab.size() > kVocabMax)
    return Refuse("model.vocab", fmt::format("more than {} tokens", kVocabMax));
  TokenId id_max = -1;
  const auto field = [](JsonValue entry) {
    return fmt::format("model.vocab['{}']", entry.key().substr(0, 100));
  };
  WG_TRY(vocab.ForEach([&](JsonValue entry) -> Status {
    if (entry.type() != Type::kInteger) return Refuse(field(entry), "not an integer");
    WG_ASSIGN(const TokenId id, ReadId(entry, field(entry)));
    id_max = std::max(id_max, id);
    return {};
  }));
  model->tokens.resize(static_cast<std::size_t>(id_max + 1));
  return vocab.ForEach([&](JsonValue entry) -> Status {
    std::string& token = model->tokens[static_cast<std::size_t>(entry.integer())];
    if (entry.key().empty()) return Refuse("model.vocab", "an empty token");
    if (!token.empty()) {
      return Refuse(field(entry),
                    fmt::format("id {} belongs to '{}' already", entry.integer(), token));
    }
    token = entry.key();
    return {};
  });
}

// "a b" or ["a", "b"].
Status ReadMerge(JsonValue entry, std::string_view* left, std::string_view* right) {
  if (entry.type() == Type::kString) {
    const std::string_view text = entry.text();
    const std::size_t space = text.find(' ');
    if (space != std::string_view::npos && text.find(' ', space + 1) == std::string_view::npos) {
      *left = text.substr(0, space);
      *right = text.substr(space + 1);
      return {};
    }
  } else if (entry.type() == Type::kArray && entry.size() == 2) {
    return entry.ForEach([&](JsonValue part) -> Status {
      if (part.type() != Type::kString) return Refuse("model.merges", "a part is not a string");
      (left->data() == nullptr ? *left : *right) = part.text();
      return {};
    });
  }
  return Refuse("model.merges", "an entry is neither \"a b\" nor [\"a\", \"b\"]");
}

Status ReadMerges(JsonValue merges, BpeParts* model) {
  if (merges.type() != Type::kArray) return Refuse("model.merges", "not a list");
  if (merges.size() > kMergesMax)
    return Refuse("model.merges", fmt::format("more than {} entries", kMergesMax));
  StringIds ids(model->tokens.size());
  for (std::size_t i = 0; i < model->tokens.size(); ++i) {
    if (model->tokens[i].empty()) continue;
    if (ids.Insert(model->tokens[i], static_cast<TokenId>(i)) == StringIds::Added::kCrowded) {
      return Refuse("model.vocab", "too many tokens with colliding hashes");
    }
  }
  std::uint32_t rank = 0;
  return merges.ForEach([&](JsonValue entry) -> Status {
    std::string_view left, right;
    if (auto status = ReadMerge(entry, &left, &right); !status) {
      return Fail(Blame::kPeer, "{} (entry {})", status.error().what, rank);
    }
    const BpeMerge merge{ids.Find(left), ids.Find(right), rank};
    if (merge.left < 0 || merge.right < 0) {
      return Refuse(fmt::format("model.merges[{}]", rank),
                    fmt::format("'{}' is not in the vocabulary",
                                (merge.left < 0 ? left : right).substr(0, 100)));
    }
    model->merges.push_back(merge);
    ++rank;
    return {};
  });
}

Status ReadModel(JsonValue model, BpeParts* out) {
  if (model.type() != Type::kObject) return Refuse("model", "missing");
  WG_ASSIGN(const std::string type, ReadString(model, "model", "type"));
  // Old files leave the type out; merges are what a BPE has and the others have not.
  if (type != "BPE" && !(type.empty() && model["merges"].Exists())) {
    return Refuse("model.type", fmt::format("'{}' is not supported, only BPE", type));
  }
  const JsonValue dropout = model["dropout"];
  if (!dropout.IsNull() && !(dropout.type() == Type::kInteger && dropout.integer() == 0)) {
    return Refuse("model.dropout", "random merges are not supported");
  }
  for (const char* name : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    WG_ASSIGN(const std::string affix, ReadString(model, "model", name));
    if (!affix.empty()) return Refuse(fmt::format("model.{}", name), "not supported");
  }
  WG_ASSIGN(out->byte_fallback, ReadBool(model, "model", "byte_fallback", false));
  WG_ASSIGN(out->fuse_unknown, ReadBool(model, "model", "fuse_unk", false));
  WG_ASSIGN(out->ignore_merges, ReadBool(model, "model", "ignore_merges", false));
  WG_TRY(ReadVocab(model["vocab"], out));
  WG_TRY(ReadMerges(model["merges"], out));
  WG_ASSIGN(const std::string unknown, ReadString(model, "model", "unk_token"));
  if (unknown.empty()) return {};
  const JsonValue id = model["vocab"][unknown];
  if (!id.Exists())
    return Refuse("model.unk_token", fmt::format("'{}' is not in the vocabulary", unknown));
  out->unknown = static_cast<TokenId>(id.integer());
  return {};
}

Status ReadAddedTokens(JsonValue list, std::vector<AddedToken>* out) {
  if (list.IsNull()) return {};
  if (list.type() != Type::kArray || list.size() > kAddedTokensMax) {
    return Refuse("added_tokens", fmt::format("not a list of at most {}", kAddedTokensMax));
  }
  return list.ForEach([&](JsonValue entry) -> Status {
    const std::string field = fmt::format("added_tokens[{}]", out->size());
    AddedToken token;
    WG_ASSIGN(token.id, ReadId(entry["id"], field + ".id"));
    WG_ASSIGN(token.content, ReadString(entry, field, "content"));
    WG_ASSIGN(token.special, ReadBool(entry, field, "special", false));
    WG_ASSIGN(token.normalized, ReadBool(entry, field, "normalized", !token.special));
    WG_ASSIGN(token.single_word, ReadBool(entry, field, "single_word", false));
    WG_ASSIGN(token.lstrip, ReadBool(entry, field, "lstrip", false));
    WG_ASSIGN(token.rstrip, ReadBool(entry, field, "rstrip", false));
    out->push_back(std::move(token));
    return {};
  });
}

}  // namespace

Result<TokenizerParts> PartsFromJson(std::string_view json) {
  WG_ASSIGN(const JsonTree tree, JsonTree::Parse(json, "tokenizer.json"));
  const JsonValue root = tree.root();
  if (root.type() != Type::kObject) return Refuse("top level", "not an object");
  // `truncation` and `padding` stay unread on purpose: a stored limit must not cut a prompt.
  TokenizerParts parts;
  WG_TRY(ReadSections(root, &parts));
  WG_TRY(ReadModel(root["model"], &parts.model));
  WG_TRY(ReadAddedTokens(root["added_tokens"], &parts.added));
  return parts;
}

}  // namespace waggle
