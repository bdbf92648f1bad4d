// TokenizerParts to tokenizer.json, as the Hugging Face library reads it.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "tokenizer/pipeline.h"

namespace waggle {
namespace {

using Json = nlohmann::ordered_json;

std::string Quote(const std::string& text) {
  return Json(text).dump(-1, ' ', false, Json::error_handler_t::replace);
}

// One step alone, several as a Sequence, none as null.
Json Steps(std::vector<Json> steps, const char* list) {
  if (steps.empty()) return nullptr;
  if (steps.size() == 1) return std::move(steps.front());
  return Json{{"type", "Sequence"}, {list, std::move(steps)}};
}

Json StepJson(const Normalizer& step) {
  using Kind = Normalizer::Kind;
  const auto replace = [](const char* kind, std::string_view pattern, std::string_view content) {
    return Json{{"type", "Replace"}, {"pattern", {{kind, pattern}}}, {"content", content}};
  };
  switch (step.kind) {
    case Kind::kNfc:
      return Json{{"type", "NFC"}};
    case Kind::kPrepend:
      return Json{{"type", "Prepend"}, {"prepend", step.content}};
    case Kind::kReplace:
      return replace("String", step.pattern, step.content);
    case Kind::kTrimSpaces:
      return replace("Regex", kTrimRegex, "");
    case Kind::kCollapseSpaces:
      break;
  }
  return replace("Regex", kCollapseRegex, " ");
}

Json StepJson(const PreTokenizer& step) {
  using Kind = PreTokenizer::Kind;
  using Prepend = PreTokenizer::Prepend;
  switch (step.kind) {
    case Kind::kByteLevel:
      return Json{{"type", "ByteLevel"},
                  {"add_prefix_space", step.add_prefix_space},
                  {"trim_offsets", true},
                  {"use_regex", step.use_regex}};
    case Kind::kSplit:
      return Json{{"type", "Split"},
                  {"pattern", {{"Regex", RegexOfFamily(step.family)}}},
                  {"behavior", "Isolated"},
                  {"invert", false}};
    case Kind::kDigits:
      return Json{{"type", "Digits"}, {"individual_digits", step.individual}};
    case Kind::kMetaspace:
      break;
  }
  const char* scheme = step.prepend == Prepend::kAlways  ? "always"
                       : step.prepend == Prepend::kFirst ? "first"
                                                         : "never";
  return Json{{"type", "Metaspace"},
              {"replacement", step.replacement},
              {"prepend_scheme", scheme},
              {"split", step.split}};
}

Json StepJson(const DecoderStep& step) {
  using Kind = DecoderStep::Kind;
  switch (step.kind) {
    case Kind::kByteLevel:
      return Json{{"type", "ByteLevel"},
                  {"add_prefix_space", true},
                  {"trim_offsets", true},
                  {"use_regex", true}};
    case Kind::kReplace:
      return Json{
          {"type", "Replace"}, {"pattern", {{"String", step.pattern}}}, {"content", step.content}};
    case Kind::kByteFallback:
      return Json{{"type", "ByteFallback"}};
    case Kind::kFuse:
      return Json{{"type", "Fuse"}};
    case Kind::kStrip:
      return Json{
          {"type", "Strip"}, {"content", step.content}, {"start", step.start}, {"stop", step.stop}};
    case Kind::kMetaspace:
      break;
  }
  return Json{{"type", "Metaspace"},
              {"replacement", step.pattern},
              {"prepend_scheme", step.drop_first ? "always" : "never"},
              {"split", true}};
}

template <class Step>
Json Section(const std::vector<Step>& steps, const char* list) {
  std::vector<Json> out;
  for (const Step& step : steps) out.push_back(StepJson(step));
  return Steps(std::move(out), list);
}

Json PostProcessor(const Tokenizer::Impl& impl) {
  const TokenizerParts& parts = impl.parts;
  if (parts.before.empty() && parts.after.empty()) return nullptr;
  Json single = Json::array(), pair, names = Json::object();
  const auto put = [&](const std::vector<TokenId>& ids) {
    for (const TokenId id : ids) {
      const std::string& name = impl.spellings[static_cast<std::size_t>(id)];
      single.push_back({{"SpecialToken", {{"id", name}, {"type_id", 0}}}});
      names[name] = {{"id", name}, {"ids", {id}}, {"tokens", {name}}};
    }
  };
  put(parts.before);
  single.push_back({{"Sequence", {{"id", "A"}, {"type_id", 0}}}});
  put(parts.after);
  pair = single;
  pair.push_back({{"Sequence", {{"id", "B"}, {"type_id", 1}}}});
  return Json{{"type", "TemplateProcessing"},
              {"single", single},
              {"pair", pair},
              {"special_tokens", names}};
}

Json AddedTokens(const TokenizerParts& parts) {
  std::vector<AddedToken> sorted = parts.added;
  std::sort(sorted.begin(), sorted.end(),
            [](const AddedToken& a, const AddedToken& b) { return a.id < b.id; });
  Json list = Json::array();
  for (const AddedToken& token : sorted) {
    list.push_back({{"id", token.id},
                    {"content", token.content},
                    {"single_word", token.single_word},
                    {"lstrip", token.lstrip},
                    {"rstrip", token.rstrip},
                    {"normalized", token.normalized},
                    {"special", token.special}});
  }
  return list;
}

std::string Dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

// The two long parts are written by hand: a line per entry, ids in order.
std::string Model(const BpeParts& model) {
  std::string out = "{\n    \"type\": \"BPE\",\n    \"dropout\": null,\n    \"unk_token\": ";
  out += model.unknown < 0 ? "null" : Quote(model.tokens[static_cast<std::size_t>(model.unknown)]);
  out += ",\n    \"continuing_subword_prefix\": null,\n    \"end_of_word_suffix\": null,\n";
  out +=
      fmt::format("    \"fuse_unk\": {},\n    \"byte_fallback\": {},\n    \"ignore_merges\": {},\n",
                  model.fuse_unknown, model.byte_fallback, model.ignore_merges);
  out += "    \"vocab\": {";
  const char* separator = "\n";
  for (std::size_t i = 0; i < model.tokens.size(); ++i) {
    if (model.tokens[i].empty()) continue;
    out += separator;
    out += fmt::format("      {}: {}", Quote(model.tokens[i]), i);
    separator = ",\n";
  }
  out += "\n    },\n    \"merges\": [";
  std::vector<BpeMerge> merges = model.merges;
  std::stable_sort(merges.begin(), merges.end(),
                   [](const BpeMerge& a, const BpeMerge& b) { return a.rank < b.rank; });
  separator = "\n";
  for (const BpeMerge& merge : merges) {
    out += separator;
    out += fmt::format("      [{}, {}]", Quote(model.tokens[static_cast<std::size_t>(merge.left)]),
                       Quote(model.tokens[static_cast<std::size_t>(merge.right)]));
    separator = ",\n";
  }
  return out + "\n    ]\n  }";
}

}  // namespace

std::string PartsToJson(const Tokenizer::Impl& impl) {
  const TokenizerParts& parts = impl.parts;
  std::string out = "{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": null,\n";
  const auto put = [&](const char* name, const Json& value) {
    out += fmt::format("  \"{}\": {},\n", name, Dump(value));
  };
  put("added_tokens", AddedTokens(parts));
  put("normalizer", Section(parts.normalizers, "normalizers"));
  put("pre_tokenizer", Section(parts.pre_tokenizers, "pretokenizers"));
  put("post_processor", PostProcessor(impl));
  put("decoder", Section(parts.decoders, "decoders"));
  return out + "  \"model\": " + Model(impl.bpe.parts()) + "\n}\n";
}

}  // namespace waggle
