// waggle train-tokenizer: a byte-level BPE learned from text files.
#include <memory>

#include "base/files.h"
#include "cli/command.h"
#include "tokenizer/tokenizer.h"

namespace waggle {
namespace {

constexpr std::size_t kTextBytesMax = std::size_t{4} << 30;

struct TrainTokenizerArguments {
  std::vector<std::string> files;
  std::string out;
  BpeTrainingOptions options{.special_tokens = {"<|endoftext|>"}};
};

Status TrainTokenizer(const TrainTokenizerArguments& arguments) {
  std::vector<std::string> documents;
  for (const std::string& file : arguments.files) {
    WG_ASSIGN(std::string text, ReadFile(file, kTextBytesMax));
    documents.push_back(std::move(text));
  }
  WG_ASSIGN(const Tokenizer tokenizer, TrainBpe(documents, arguments.options));
  WG_TRY(WriteFileAtomic(arguments.out, tokenizer.ToJson()));
  std::size_t bytes = 0, tokens = 0;
  for (const std::string& text : documents) {
    bytes += text.size();
    tokens += tokenizer.Encode(text).size();
  }
  fmt::print("{}: {} tokens in the vocabulary, {:.2f} bytes per token of these texts\n",
             arguments.out, tokenizer.vocab_size(),
             static_cast<double>(bytes) / static_cast<double>(std::max<std::size_t>(1, tokens)));
  return {};
}

}  // namespace

Action DefineTrainTokenizer(CLI::App& app) {
  auto arguments = std::make_shared<TrainTokenizerArguments>();
  app.add_option("files", arguments->files, "Text files to learn from.")->required();
  app.add_option("--out", arguments->out, "tokenizer.json to write.")->required();
  app.add_option("--vocab", arguments->options.vocab_size, "Size of the vocabulary.")
      ->check(CLI::Range(257, 1 << 20))
      ->capture_default_str();
  app.add_option("--special", arguments->options.special_tokens,
                 "Special tokens; they get the first ids. One of them must end a text.")
      ->capture_default_str();
  return [arguments] { return TrainTokenizer(*arguments); };
}

}  // namespace waggle
