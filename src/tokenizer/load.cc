// Tokenizers from the files that real models come with.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "tokenizer/json_tree.h"
#include "tokenizer/pipeline.h"
#include "tokenizer/unicode.h"

namespace waggle {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kConfigBytesMax = 16u << 20, kTemplateBytesMax = 1u << 20;
// What a tokenizer of Transformers is made of. (vocab.json and merges.txt say again what
// tokenizer.json says.)
constexpr const char* kFolderFiles[] = {"tokenizer.json", "tokenizer_config.json",
                                        "special_tokens_map.json", "added_tokens.json",
                                        "chat_template.jinja"};

Error Named(const fs::path& path, Error error) {
  return {error.blame, fmt::format("{}: {}", path.string(), error.what)};
}

template <class T>
Result<T> InFile(const fs::path& path, Result<T> result) {
  return result ? std::move(result) : Result<T>(Forward(Named(path, std::move(result.error()))));
}

Result<Tokenizer> FromFile(const fs::path& path) {
  WG_ASSIGN(const std::string bytes, ReadFile(path, JsonTree::kTextMax));
  const auto extension = path.extension();
  const auto make = [&](Result<TokenizerParts> parts) -> Result<Tokenizer> {
    if (!parts) return Forward(Named(path, std::move(parts.error())));
    return InFile(path, Tokenizer::Impl::Make(std::move(*parts)));
  };
  if (extension == ".json") return make(PartsFromJson(bytes));
  if (extension == ".model") return make(PartsFromSentencePiece(bytes));
  if (extension == ".bin") return make(PartsFromLlama2c(bytes));
  return Fail(Blame::kOperator, "{}: not a .json, .model or .bin tokenizer", path.string());
}

// A config that only lists characters: verl's CharTokenizer, whose specials are fixed.
Result<Tokenizer> FromCharOrds(JsonValue ords, const fs::path& path) {
  std::string characters;
  if (ords.type() != JsonValue::Type::kArray)
    return Fail(Blame::kPeer, "{}: char_ords: not a list", path.string());
  WG_TRY(ords.ForEach([&](JsonValue ord) -> Status {
    const bool valid = ord.type() == JsonValue::Type::kInteger && ord.integer() >= 0 &&
                       ord.integer() < 0x110000 &&
                       (ord.integer() < 0xD800 || ord.integer() >= 0xE000);
    if (!valid) return Fail(Blame::kPeer, "{}: char_ords: not a code point", path.string());
    unicode::Append(characters, static_cast<char32_t>(ord.integer()));
    return {};
  }));
  const std::string specials[] = {"S", "E", "P", "U"};  // separator, end, padding, unknown
  return InFile(path, Tokenizer::FromCharacters(specials, characters));
}

// chat_template: a string, or a list of {name, template} of which "default" counts.
std::string TemplateOf(JsonValue config) {
  const JsonValue value = config["chat_template"];
  if (value.type() == JsonValue::Type::kString) return std::string(value.text());
  std::string found;
  (void)value.ForEach([&](JsonValue entry) -> Status {
    const JsonValue name = entry["name"], text = entry["template"];
    const bool strings =
        name.type() == JsonValue::Type::kString && text.type() == JsonValue::Type::kString;
    if (strings && (found.empty() || name.text() == "default")) found = std::string(text.text());
    return {};
  });
  return found;
}

// The one file of a folder with this extension, or an empty path.
fs::path OnlyFile(const fs::path& folder, std::string_view extension) {
  fs::path found;
  std::error_code error;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    if (at->path().extension() != extension) continue;
    if (!found.empty()) return {};
    found = at->path();
  }
  return found;
}

// Without a tokenizer_config.json Transformers guesses a class from the model's type, and Llama's
// has ideas of its own about tokenizer.json.
std::string GenericConfig(const std::string& chat_template) {
  nlohmann::ordered_json config = {{"tokenizer_class", "PreTrainedTokenizerFast"},
                                   {"clean_up_tokenization_spaces", false}};
  if (!chat_template.empty()) config["chat_template"] = chat_template;
  return config.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace

std::map<std::string, std::string> Tokenizer::Files() const {
  if (!impl_->files.empty()) return impl_->files;
  return {{"tokenizer.json", ToJson()},
          {"tokenizer_config.json", GenericConfig(impl_->chat_template)}};
}

Result<Tokenizer> Tokenizer::Load(const fs::path& path) {
  std::error_code error;
  if (!fs::exists(path, error))
    return Fail(Blame::kOperator, "{}: no such file or folder", path.string());
  if (!fs::is_directory(path, error)) return FromFile(path);

  const fs::path config_path = path / "tokenizer_config.json",
                 template_path = path / "chat_template.jinja";
  std::string config_text = "null";
  if (fs::exists(config_path, error)) {
    WG_ASSIGN(config_text, ReadFile(config_path, kConfigBytesMax));
  }
  WG_ASSIGN(const JsonTree config, JsonTree::Parse(config_text, config_path.string()));

  fs::path file = path / "tokenizer.json";
  if (!fs::exists(file, error)) file = path / "tokenizer.model";
  if (!fs::exists(file, error)) file = OnlyFile(path, ".model");
  const JsonValue ords = config.root()["char_ords"];
  if (file.empty() && !ords.Exists()) {
    return Fail(Blame::kOperator, "{}: no tokenizer.json, no tokenizer.model and no character list",
                path.string());
  }
  WG_ASSIGN(Tokenizer tokenizer, file.empty() ? FromCharOrds(ords, config_path) : FromFile(file));
  if (file.filename() == "tokenizer.json") {
    for (const char* name : kFolderFiles) {
      if (!fs::exists(path / name, error)) continue;
      WG_ASSIGN(tokenizer.impl_->files[name], ReadFile(path / name, JsonTree::kTextMax));
    }
  }
  // Transformers prefers the file to the entry of the config, too.
  if (fs::exists(template_path, error)) {
    WG_ASSIGN(tokenizer.impl_->chat_template, ReadFile(template_path, kTemplateBytesMax));
  } else {
    tokenizer.impl_->chat_template = TemplateOf(config.root());
  }
  return tokenizer;
}

}  // namespace waggle
