// waggle generate, chat: text from a model.
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <iostream>
#include <memory>

#include "cli/command.h"
#include "cli/common.h"
#include "engine/engine.h"

namespace waggle {
namespace {

constexpr std::size_t kBudget = 128;

struct GenerateArguments {
  ModelOptions model;
  MachineOptions machine;
  std::string prompt;
  std::uint32_t samples = 1, tokens_max = 0, top_k = 0;
  float temperature = 1.0f, top_p = 1.0f, min_p = 0.0f, repetition_penalty = 1.0f;
  std::uint64_t seed = 0;

  void Define(CLI::App& app) {
    model.Define(app);
    app.add_option("--max-tokens", tokens_max,
                   "Response budget (default: 128, or what the context still holds).");
    app.add_option("--temperature", temperature, "0: greedy.")->capture_default_str();
    app.add_option("--top-p", top_p, "Nucleus.")->capture_default_str();
    app.add_option("--top-k", top_k, "Keep the k best; 0: all.")->capture_default_str();
    app.add_option("--min-p", min_p, "Smallest probability relative to the best.")
        ->capture_default_str();
    app.add_option("--repetition-penalty", repetition_penalty, "Above 1 discourages repetition.")
        ->capture_default_str();
    app.add_option("--seed", seed,
                   "Key of the sampling race: same seed, same text, on any machine.")
        ->capture_default_str();
    machine.Define(app);
  }

  // Tokens of a response after `used` tokens. What was asked for by name is refused later if it
  // does not fit; the default gives way.
  std::uint32_t Budget(const ModelConfig& config, std::size_t used) const {
    if (tokens_max > 0) return tokens_max;
    const std::size_t left = config.max_positions > used ? config.max_positions - used : 1;
    return static_cast<std::uint32_t>(std::min<std::size_t>(kBudget, left));
  }

  SamplingOptions Sampling(const ModelConfig& config) const {
    SamplingOptions options;
    options.config = {.temperature = temperature,
                      .top_p = top_p,
                      .min_p = min_p,
                      .top_k = top_k,
                      .tokens_max = tokens_max};
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

volatile std::sig_atomic_t interrupted = 0;

// While it lives, Ctrl-C sets `interrupted` (and ends a read of the terminal) instead of the
// process.
class CatchInterrupt {
 public:
  CatchInterrupt() {
    interrupted = 0;
    struct sigaction action = {};
    action.sa_handler = [](int) { interrupted = 1; };
    ::sigaction(SIGINT, &action, &before_);
  }
  ~CatchInterrupt() { ::sigaction(SIGINT, &before_, nullptr); }
  CatchInterrupt(const CatchInterrupt&) = delete;
  CatchInterrupt& operator=(const CatchInterrupt&) = delete;

 private:
  struct sigaction before_ = {};
};

struct Answers {
  std::vector<std::vector<TokenId>> tokens;  // per sample, without the token that ended it
  bool complete = true;                      // false: Ctrl-C came first
};

// Samples until all are done or Ctrl-C; prints sample 0 as it comes, whole characters only, if
// there is no other.
Result<Answers> Sample(Engine& engine, const Tokenizer& tokenizer, std::vector<TokenId> prompt,
                       std::uint32_t samples, const SamplingOptions& options) {
  const CatchInterrupt guard;
  const auto request = engine.Submit(std::move(prompt), samples, options);
  if (!request) return Fail(Blame::kOperator, "{}", request.error().what);  // of the flags
  Answers answers{std::vector<std::vector<TokenId>>(samples)};
  StreamingDecoder decoder(tokenizer);
  while (!engine.idle() && interrupted == 0) {
    for (const TokenEvent& event : engine.Step()) {
      if (event.finish == FinishReason::kAborted) {
        engine.Cancel(*request);
        return Fail(
            Blame::kMachine,
            "the model gave numbers that are none (NaN or infinity): its weights are broken");
      }
      if (event.finish == FinishReason::kStop) continue;
      answers.tokens[event.sample].push_back(event.token);
      if (samples == 1) Print(decoder.Push(event.token));
    }
  }
  answers.complete = engine.idle();
  engine.Cancel(*request);
  // What is left in the decoder after Ctrl-C is half a character that was going to be completed.
  if (samples == 1 && answers.complete) Print(decoder.Flush());
  return answers;
}

Status Generate(const GenerateArguments& arguments) {
  WG_ASSIGN(const Ops* ops, arguments.machine.SelectedOps());
  WG_ASSIGN(const OpenModel open, Open(arguments.model, *ops));
  ThreadPool pool(arguments.machine.Threads());
  Engine engine(open.model, PolicyVersion{0}, {}, pool);
  const Tokenizer& tokenizer = open.base.tokenizer;
  auto prompt = tokenizer.Encode(arguments.prompt, {.add_special_tokens = true});
  if (prompt.empty()) {
    return Fail(
        Blame::kOperator,
        "--prompt is empty, and this model has no token that begins a text: give some text");
  }
  SamplingOptions options = arguments.Sampling(open.base.model.config);
  options.config.tokens_max = arguments.Budget(open.base.model.config, prompt.size());
  WG_ASSIGN(const Answers answers,
            Sample(engine, tokenizer, std::move(prompt), arguments.samples, options));
  if (arguments.samples == 1) {
    Print("\n");
  } else {
    for (std::size_t i = 0; i < answers.tokens.size(); ++i)
      fmt::print("[{}] {}\n", i, tokenizer.Decode(answers.tokens[i]));
  }
  if (!answers.complete) return Fail(Blame::kOperator, "interrupted");
  return {};
}

// The frame of a turn is ours and may hold special tokens; what the user typed is text, and special
// strings inside it stay plain. Models that do not know ChatML, as most small instruct models do,
// get the plain line.
class Conversation {
 public:
  explicit Conversation(const Tokenizer& tokenizer)
      : tokenizer_(tokenizer), framed_(tokenizer.Find("<|im_start|>").has_value()) {
    tokens_ = tokenizer.Encode("", {.add_special_tokens = true});
  }

  void AddQuestion(const std::string& line) {
    if (framed_) Append(tokenizer_.Encode("<|im_start|>user\n"));
    Append(tokenizer_.Encode(line, {.encode_special = false}));
    if (framed_) Append(tokenizer_.Encode("<|im_end|>\n<|im_start|>assistant\n"));
  }
  void AddAnswer(std::span<const TokenId> answer) {
    Append(answer);
    if (framed_) Append(tokenizer_.Encode("<|im_end|>\n"));
  }
  std::span<const TokenId> tokens() const { return tokens_; }

 private:
  void Append(std::span<const TokenId> tokens) {
    tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
  }

  const Tokenizer& tokenizer_;
  const bool framed_;
  std::vector<TokenId> tokens_;
};

// One line of the user. False: end of input, Ctrl-C, or an empty line.
bool Ask(bool terminal, std::string& line) {
  const CatchInterrupt guard;
  if (terminal) Print("> ");
  const bool got = static_cast<bool>(std::getline(std::cin, line)) && interrupted == 0;
  if (!got && terminal) Print("\n");
  if (got && line.ends_with('\r')) line.pop_back();
  return got && !line.empty();
}

Status Chat(const GenerateArguments& arguments) {
  WG_ASSIGN(const Ops* ops, arguments.machine.SelectedOps());
  WG_ASSIGN(const OpenModel open, Open(arguments.model, *ops));
  ThreadPool pool(arguments.machine.Threads());
  Engine engine(open.model, PolicyVersion{0}, {}, pool);
  SamplingOptions options = arguments.Sampling(open.base.model.config);
  if (const auto end = open.base.tokenizer.Find("<|im_end|>")) options.stop_ids.push_back(*end);
  const std::size_t context = open.base.model.config.max_positions;
  const bool terminal = ::isatty(STDIN_FILENO) != 0;
  Conversation conversation(open.base.tokenizer);
  if (terminal)
    Print(
        "Ctrl-C stops an answer; an empty line, Ctrl-D or Ctrl-C at the prompt ends the "
        "conversation.\n");
  for (std::string line; Ask(terminal, line);) {
    conversation.AddQuestion(line);
    const std::size_t used = conversation.tokens().size();
    if (used >= context) {
      return Fail(Blame::kOperator,
                  "the conversation of {} tokens fills the model's context of {}: begin a new one",
                  used, context);
    }
    options.config.tokens_max = static_cast<std::uint32_t>(
        std::min<std::size_t>(arguments.Budget(open.base.model.config, used), context - used));
    WG_ASSIGN(const Answers answers,
              Sample(engine, open.base.tokenizer,
                     {conversation.tokens().begin(), conversation.tokens().end()}, 1, options));
    conversation.AddAnswer(answers.tokens[0]);
    Print("\n");
  }
  return {};
}

}  // namespace

Action DefineGenerate(CLI::App& app) {
  auto arguments = std::make_shared<GenerateArguments>();
  arguments->Define(app);
  app.add_option("--prompt", arguments->prompt, "Text to go on from.")->required();
  app.add_option("--n", arguments->samples, "Samples; the prompt is computed once.")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  return [arguments] { return Generate(*arguments); };
}

Action DefineChat(CLI::App& app) {
  auto arguments = std::make_shared<GenerateArguments>();
  arguments->Define(app);
  return [arguments] { return Chat(*arguments); };
}

}  // namespace waggle
