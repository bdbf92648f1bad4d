// waggle generate, chat: text from a model.
#include <unistd.h>

#include <iostream>
#include <memory>

#include "cli/command.h"
#include "cli/common.h"
#include "engine/engine.h"

namespace waggle {
namespace {

struct GenerateArguments {
  ModelOptions model;
  MachineOptions machine;
  std::string prompt;
  std::uint32_t samples = 1, tokens_max = 128, top_k = 0;
  float temperature = 1.0f, top_p = 1.0f, min_p = 0.0f, repetition_penalty = 1.0f;
  std::uint64_t seed = 0;

  void Define(CLI::App& app) {
    model.Define(app);
    app.add_option("--max-tokens", tokens_max, "Response budget.")->capture_default_str();
    app.add_option("--temperature", temperature, "0: greedy.")->capture_default_str();
    app.add_option("--top-p", top_p, "Nucleus.")->capture_default_str();
    app.add_option("--top-k", top_k, "Keep the k best; 0: all.")->capture_default_str();
    app.add_option("--min-p", min_p, "Smallest probability relative to the best.")->capture_default_str();
    app.add_option("--repetition-penalty", repetition_penalty, "Above 1 discourages repetition.")->capture_default_str();
    app.add_option("--seed", seed, "Key of the sampling race: same seed, same text, on any machine.")->capture_default_str();
    machine.Define(app);
  }

  SamplingOptions Sampling(const ModelConfig& config) const {
    SamplingOptions options;
    options.config = {.temperature = temperature, .top_p = top_p, .min_p = min_p, .top_k = top_k, .tokens_max = tokens_max};
    options.key = PhiloxKeyFrom(seed);
    options.stop_ids = config.eos;
    options.repetition_penalty = repetition_penalty;
    return options;
  }
};

void Print(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

bool Prompt() {
  if (::isatty(STDIN_FILENO)) Print("> ");
  return true;
}

bool IsStop(const ModelConfig& config, TokenId id) {
  return std::find(config.eos.begin(), config.eos.end(), id) != config.eos.end();
}

// Prints sample 0 as it comes; returns all samples' tokens.
std::vector<std::vector<TokenId>> Stream(Engine& engine, const OpenModel& open, std::uint32_t samples, bool show_first) {
  std::vector<std::vector<TokenId>> tokens(samples);
  StreamingDecoder decoder(open.base.tokenizer);
  while (!engine.idle()) {
    for (const TokenEvent& event : engine.Step()) {
      if (IsStop(open.base.model.config, event.token)) continue;
      tokens[event.sample].push_back(event.token);
      if (show_first && event.sample == 0) Print(decoder.Push(event.token));
    }
  }
  if (show_first) Print(decoder.Flush());
  return tokens;
}

Status Generate(const GenerateArguments& arguments) {
  WG_ASSIGN(const Ops* ops, arguments.machine.SelectedOps());
  WG_ASSIGN(const OpenModel open, Open(arguments.model, *ops));
  ThreadPool pool(arguments.machine.Threads());
  Engine engine(open.model, PolicyVersion{0}, {}, pool);
  auto prompt = open.base.tokenizer.Encode(arguments.prompt, {.add_special_tokens = true});
  WG_ASSIGN(const RequestId request, engine.Submit(std::move(prompt), arguments.samples, arguments.Sampling(open.base.model.config)));
  static_cast<void>(request);
  const auto samples = Stream(engine, open, arguments.samples, /*show_first=*/arguments.samples == 1);
  if (arguments.samples == 1) {
    Print("\n");
    return {};
  }
  for (std::size_t i = 0; i < samples.size(); ++i) fmt::print("[{}] {}\n", i, open.base.tokenizer.Decode(samples[i]));
  return {};
}

// One turn of the user. The ChatML frame, which most small instruct models know, is ours and may hold special tokens; what the
// user typed is text, and special strings inside it stay plain. A model without those tokens gets the plain line.
std::vector<TokenId> TurnTokens(const Tokenizer& tokenizer, const std::string& line) {
  auto typed = tokenizer.Encode(line, {.encode_special = false});
  if (!tokenizer.Find("<|im_start|>")) return typed;
  auto turn = tokenizer.Encode("<|im_start|>user\n");
  const auto end = tokenizer.Encode("<|im_end|>\n<|im_start|>assistant\n");
  turn.insert(turn.end(), typed.begin(), typed.end());
  turn.insert(turn.end(), end.begin(), end.end());
  return turn;
}

Status Chat(const GenerateArguments& arguments) {
  WG_ASSIGN(const Ops* ops, arguments.machine.SelectedOps());
  WG_ASSIGN(const OpenModel open, Open(arguments.model, *ops));
  ThreadPool pool(arguments.machine.Threads());
  Engine engine(open.model, PolicyVersion{0}, {}, pool);
  SamplingOptions options = arguments.Sampling(open.base.model.config);
  if (const auto end = open.base.tokenizer.Find("<|im_end|>")) options.stop_ids.push_back(*end);
  std::vector<TokenId> history = open.base.tokenizer.Encode("", {.add_special_tokens = true});
  if (::isatty(STDIN_FILENO)) fmt::print("An empty line or Ctrl-D ends the conversation.\n");
  for (std::string line; Prompt() && std::getline(std::cin, line) && !line.empty();) {
    const auto tokens = TurnTokens(open.base.tokenizer, line);
    history.insert(history.end(), tokens.begin(), tokens.end());
    WG_ASSIGN(const RequestId request, engine.Submit(history, 1, options));
    static_cast<void>(request);
    const auto answer = Stream(engine, open, 1, /*show_first=*/true);
    history.insert(history.end(), answer[0].begin(), answer[0].end());
    Print("\n");
  }
  return {};
}

}  // namespace

Action DefineGenerate(CLI::App& app) {
  auto arguments = std::make_shared<GenerateArguments>();
  arguments->Define(app);
  app.add_option("--prompt", arguments->prompt, "Text to go on from.")->required();
  app.add_option("--n", arguments->samples, "Samples; the prompt is computed once.")->check(CLI::Range(1, 1024))->capture_default_str();
  return [arguments] { return Generate(*arguments); };
}

Action DefineChat(CLI::App& app) {
  auto arguments = std::make_shared<GenerateArguments>();
  arguments->Define(app);
  return [arguments] { return Chat(*arguments); };
}

}  // namespace waggle
