// waggle score, tokenize: token ids in, numbers or text out.
#include <memory>
#include <nlohmann/json.hpp>

#include "base/hex.h"
#include "cli/command.h"
#include "cli/common.h"
#include "engine/engine.h"

namespace waggle {
namespace {

struct ScoreArguments {
  ModelOptions model;
  MachineOptions machine;
  std::string ids, text, format = "text";
  float temperature = 1.0f;
};

Status ScoreIds(const ScoreArguments& arguments) {
  WG_ASSIGN(const Ops* ops, arguments.machine.SelectedOps());
  WG_ASSIGN(const OpenModel open, Open(arguments.model, *ops));
  std::vector<TokenId> ids;
  if (!arguments.ids.empty()) {
    WG_ASSIGN(ids, ParseIds(arguments.ids, open.base.model.config.vocab));
  } else {
    ids = open.base.tokenizer.Encode(arguments.text, {.add_special_tokens = true});
  }
  ThreadPool pool(arguments.machine.Threads());
  WG_ASSIGN(const std::vector<float> logps,
            ScoreTokens(*open.model, pool, ids, arguments.temperature));
  double sum = 0;
  for (const float logp : logps) sum += static_cast<double>(logp);
  if (arguments.format == "json") {
    nlohmann::ordered_json out = {{"ids", ids},
                                  {"temperature", HexFloat(arguments.temperature)},
                                  {"profile", "ca1"},
                                  {"weights", arguments.model.weights},
                                  {"kv", arguments.model.kv}};
    for (const float logp : logps) out["logprobs"].push_back(HexFloat(logp));
    out["sum"] = HexDouble(sum);
    fmt::print("{}\n", out.dump());
    return {};
  }
  for (std::size_t i = 0; i < ids.size(); ++i) {
    fmt::print("{:>6} {:>8} {:>12.6f}  {}\n", i, ids[i], logps[i],
               nlohmann::json(open.base.tokenizer.TokenBytes(ids[i]))
                   .dump(-1, ' ', true, nlohmann::json::error_handler_t::replace));
  }
  fmt::print("sum {:.6f}, mean {:.6f} nats per token over {} scored tokens\n", sum,
             ids.size() > 1 ? sum / static_cast<double>(ids.size() - 1) : 0.0, ids.size() - 1);
  return {};
}

struct TokenizeArguments {
  std::string path, text, ids;
  bool special = false, json = false;
};

Status Tokenize(const TokenizeArguments& arguments) {
  WG_ASSIGN(const Tokenizer tokenizer, Tokenizer::Load(arguments.path));
  if (!arguments.ids.empty()) {
    WG_ASSIGN(const auto ids, ParseIds(arguments.ids, tokenizer.vocab_size()));
    fmt::print("{}\n", tokenizer.Decode(ids));
    return {};
  }
  const auto ids = tokenizer.Encode(arguments.text, {.add_special_tokens = arguments.special});
  if (arguments.json) {
    fmt::print("{}\n", nlohmann::json(ids).dump());
    return {};
  }
  for (const TokenId id : ids) {
    fmt::print("{:>8}  {}\n", id,
               nlohmann::json(tokenizer.TokenBytes(id))
                   .dump(-1, ' ', true, nlohmann::json::error_handler_t::replace));
  }
  fmt::print("{} tokens\n", ids.size());
  return {};
}

}  // namespace

Action DefineScore(CLI::App& app) {
  auto arguments = std::make_shared<ScoreArguments>();
  arguments->model.Define(app);
  auto* ids = app.add_option("--ids", arguments->ids, "Token ids, separated by commas.");
  app.add_option("--text", arguments->text, "Or text, encoded with the model's tokenizer.")
      ->excludes(ids);
  app.add_option("--temperature", arguments->temperature, "Temperature of the distribution.")
      ->capture_default_str();
  app.add_option("--format", arguments->format, "text, or json with exact hexadecimal floats.")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
  arguments->machine.Define(app);
  return [arguments]() -> Status {
    if (arguments->ids.empty() && arguments->text.empty())
      return Fail(Blame::kOperator, "give --ids or --text");
    return ScoreIds(*arguments);
  };
}

Action DefineTokenize(CLI::App& app) {
  auto arguments = std::make_shared<TokenizeArguments>();
  app.add_option("--model", arguments->path, "Folder with tokenizer.json, or a tokenizer file.")
      ->required();
  auto* text = app.add_option("--text", arguments->text, "Text to encode.");
  app.add_option("--ids", arguments->ids, "Ids to decode, separated by commas.")->excludes(text);
  app.add_flag("--special", arguments->special,
               "Add the special tokens a model expects (BOS ...).");
  app.add_flag("--json", arguments->json, "Print ids as a JSON array.");
  return [arguments] { return Tokenize(*arguments); };
}

}  // namespace waggle
