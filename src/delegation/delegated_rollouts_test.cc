// Delegated rollouts: what the engine samples is what graphs draw, folders go on where they stood,
// and what disputes cannot hold is refused.
#include "delegation/delegated_rollouts.h"

#include <bit>
#include <set>

#include "delegation/test_rollouts.h"
#include "run/run_folder.h"

namespace waggle {
namespace {

using testing_delegation::OpenSampled;
using testing_delegation::TinyRollouts;

// Everything honest samplers rely on: what the engine sampled in its batches is what the graph of
// each token alone draws, to the bit; or an honest one would lose its own dispute.
void ExpectGraphsToBeTheEngine(const RolloutRecipe& recipe) {
  TempFolder out;
  ThreadPool pool(2);
  const auto run = OpenSampled(recipe, out.path() / "run", pool);
  const RolloutWork& work = run->work();
  const auto source = OpenPolicy(work.recipe).value();
  const PolicyState policy =
      PolicyStateOf(StateOf(work.model.config, work.model.numerics), *source);
  EXPECT_EQ(policy.root, work.run.state);
  std::size_t stopped = 0;
  for (std::size_t s = 0; s < work.specs.size(); ++s) {
    const std::vector<TokenRecord>& response = run->responses()[s];
    std::vector<TokenId> prefix, tokens = work.specs[s].prompt;
    for (const TokenRecord& token : response) {
      ASSERT_FALSE(IsOver(work.specs[s], prefix));
      const Program program = TokenProgram(work.model, work.specs[s], prefix).value();
      Execution graph(program,
                      {[&](std::uint32_t i, std::uint8_t) { return &policy.tensors[i]; },
                       {TokensTensor(tokens)}},
                      BestOps(), pool, 1u << 30);
      EXPECT_EQ(graph.Tensor(program.results[0]).Cell(0), static_cast<std::uint32_t>(token.token));
      EXPECT_EQ(graph.Tensor(program.results[1]).Cell(0), token.logp)
          << "response " << s << ", token " << token.index;
      prefix.push_back(token.token);
      tokens.push_back(token.token);
    }
    EXPECT_TRUE(IsOver(work.specs[s], prefix));
    stopped += prefix.size() < work.specs[s].tokens_max ? 1 : 0;
  }
  EXPECT_GT(stopped, 0u);
}

TEST(DelegatedRollouts, TheEnginesTokensAreThoseOfTheGraphs) {
  TempFolder folder;
  ExpectGraphsToBeTheEngine(TinyRollouts(folder));
}

TEST(DelegatedRollouts, SoUnderOtherSettings) {
  TempFolder folder;
  RolloutRecipe recipe = TinyRollouts(folder);
  recipe.model.architecture = "Qwen3ForCausalLM";
  recipe.model.tied_head = false;
  recipe.model.weights = "bf16";
  recipe.model.kv = "bf16";
  recipe.sampling.temperature = 0.7;
  recipe.sampling.top_p = 0.95;
  recipe.sampling.top_k = 11;
  ExpectGraphsToBeTheEngine(recipe);
}

TEST(DelegatedRollouts, SettingsOfAMachineChangeNothing) {
  TempFolder folder, out;
  ThreadPool one(1), two(2);
  RolloutRecipe recipe = TinyRollouts(folder);
  const auto a = OpenSampled(recipe, out.path() / "a", one);
  recipe.sampling.step_tokens = 7;
  recipe.sampling.sequences_max = 3;
  recipe.sampling.kv_bytes = 1u << 17;
  const auto b = OpenSampled(recipe, out.path() / "b", two);
  EXPECT_EQ(a->responses(), b->responses());
  EXPECT_EQ(a->Commit().program, b->Commit().program);
  EXPECT_EQ(a->Commit().units, b->Commit().units);
}

TEST(DelegatedRollouts, AnotherProgramHasAnotherHash) {
  TempFolder folder;
  std::set<Digest256> hashes;
  const auto add = [&](const std::function<void(RolloutRecipe&)>& change) {
    RolloutRecipe recipe = TinyRollouts(folder);
    change(recipe);
    const auto work = OpenRolloutWork(recipe);
    ASSERT_TRUE(work) << work.error().what;
    hashes.insert(ProgramHash(work->run));
  };
  add([](RolloutRecipe&) {});
  add([](RolloutRecipe& r) { r.sampling.step_tokens = 9; });  // no bit of the result
  EXPECT_EQ(hashes.size(), 1u);
  add([](RolloutRecipe& r) { r.prompts.seed = 2; });
  add([](RolloutRecipe& r) { r.prompts.first = 3; });
  add([](RolloutRecipe& r) { r.prompts.responses = 2; });
  add([](RolloutRecipe& r) { r.model.seed = 2; });
  add([](RolloutRecipe& r) { r.sampling.tokens_max = 5; });
  add([](RolloutRecipe& r) { r.sampling.temperature = 0.5; });
  add([](RolloutRecipe& r) { r.sampling.top_k = 4; });
  EXPECT_EQ(hashes.size(), 8u);
}

TEST(DelegatedRollouts, ARootStandsForTheWeights) {
  TempFolder folder;
  RolloutRecipe recipe = TinyRollouts(folder);
  const RolloutWork work = OpenRolloutWork(recipe).value();
  const auto policy = OpenPolicy(recipe).value();
  EXPECT_TRUE(CheckPolicy(work, *policy));
  recipe.policy = work.recipe.policy;
  EXPECT_EQ(OpenRolloutWork(recipe).value().run, work.run);
  recipe.model.seed = 2;  // other weights, whose root nobody looks at here
  const RolloutWork other = OpenRolloutWork(recipe).value();
  const Status wrong = CheckPolicy(other, **OpenPolicy(recipe));
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().blame, Blame::kOperator);
}

TEST(DelegatedRollouts, RefusesWhatCannotBeDisputed) {
  TempFolder folder;
  const auto refused = [&](const std::function<void(RolloutRecipe&)>& change, const char* words) {
    RolloutRecipe recipe = TinyRollouts(folder);
    change(recipe);
    const auto work = OpenRolloutWork(recipe);
    ASSERT_FALSE(work) << words;
    EXPECT_EQ(work.error().blame, Blame::kOperator);
    EXPECT_NE(work.error().what.find(words), std::string::npos) << work.error().what;
  };
  const auto prompts = [&](const std::string& text) {
    return [&folder, text](RolloutRecipe& recipe) {
      recipe.prompts.files = {(folder.path() / "other.jsonl").string()};
      ASSERT_TRUE(WriteFileAtomic(folder.path() / "other.jsonl", text));
    };
  };
  refused([](RolloutRecipe& r) { r.model.weights = "int8"; }, "numerics");
  refused([](RolloutRecipe& r) { r.sampling.tokens_max = 60; }, "past the model's");
  // All keys of one head feed a tile of attention: a context that no referee would take.
  refused(
      [](RolloutRecipe& r) {
        r.model.heads = r.model.kv_heads = 1;
        r.model.positions = 16'000;
        r.sampling.tokens_max = 14'000;
      },
      "could not be disputed");
  refused([](RolloutRecipe& r) { r.sampling.temperature = -1; }, "temperature");
  refused([](RolloutRecipe& r) { r.policy = "abc"; }, "64 hexadecimal");
  refused([](RolloutRecipe& r) { r.program = "abc"; }, "are others");
  refused([](RolloutRecipe& r) { r.prompts.files = {}; }, "no prompt");
  refused(prompts("\n\n"), "no prompt");
  refused(prompts("{\"prompt\": \"1+1=\"}\n[]"), "other.jsonl:2: no JSON object");
  refused(prompts("{\"prompt\": \"\"}"), "an empty prompt");
  refused(prompts("{\"text\": \"1\"}"), "neither");
  refused(prompts("{\"prompt\": \"1\", \"seed\": -1}"), "seed");
  refused(prompts("{\"tokens\": [1, -2]}"), "no token id");
  refused(prompts("{\"tokens\": [1, 999]}"), "outside");
}

TEST(DelegatedRollouts, PromptsHaveTokensAndKeysOfTheirOwn) {
  TempFolder folder;
  RolloutRecipe recipe = TinyRollouts(folder);
  ASSERT_TRUE(WriteFileAtomic(folder.path() / "own.jsonl",
                              "{\"tokens\": [3, 4]}\r\n\n{\"prompt\": \"1+\", \"seed\": "
                              "18446744073709551615, \"completion\": \"2\"}\n"));
  recipe.prompts.files = {(folder.path() / "own.jsonl").string()};
  const RolloutWork work = OpenRolloutWork(recipe).value();
  ASSERT_EQ(work.run.units, 2u);
  EXPECT_EQ(work.specs[0].prompt, (std::vector<TokenId>{3, 4}));
  EXPECT_EQ(work.specs[0].key0, recipe.prompts.seed);
  EXPECT_EQ(work.specs.back().key1, 0xffffffffu);
  for (std::size_t s = 0; s < work.specs.size(); ++s) EXPECT_EQ(work.specs[s].sample, s);
}

TEST(DelegatedRollouts, AFolderGoesOnWhereItStood) {
  TempFolder folder, out;
  ThreadPool pool(1);
  const RolloutRecipe recipe = TinyRollouts(folder);
  const auto run = OpenSampled(recipe, out.path() / "run", pool);
  const auto responses = out.path() / "run/responses.log", log = out.path() / "run/commitment.log";
  const auto whole = ReadFile(responses, 1 << 20).value(), records = ReadFile(log, 1 << 20).value();
  const auto reopen = [&] { return SampledRun::Open(out.path() / "run", BestOps(), pool); };
  // Torn anywhere: in a response, in a record, one without the other, one file gone.
  for (const auto& [bytes, committed] : {std::pair<std::size_t, std::size_t>{30, 38 * 2 + 5},
                                         {whole.size() - 1, 38},
                                         {0, records.size()},
                                         {whole.size(), 0}}) {
    std::filesystem::resize_file(responses, bytes);
    std::filesystem::resize_file(log, committed);
    EXPECT_FALSE(reopen());
    const auto done = PrepareRollouts(out.path() / "run", {}, {}, BestOps(), pool, {});
    ASSERT_TRUE(done && *done) << done.error().what;
    EXPECT_EQ(ReadFile(responses, 1 << 20).value(), whole);
    EXPECT_EQ(ReadFile(log, 1 << 20).value(), records);
  }
  EXPECT_EQ(reopen().value()->Commit().units, run->Commit().units);
  // Told to leave before the first wave, it says so.
  std::filesystem::resize_file(responses, 0);
  std::filesystem::resize_file(log, 0);
  const SamplingWatch leaving{.progress = nullptr, .wants_to_leave = [] { return true; }};
  EXPECT_FALSE(PrepareRollouts(out.path() / "run", {}, {}, BestOps(), pool, leaving).value());
  // One process fills a folder.
  {
    const FolderLock other = RunFolder(out.path() / "run").Lock().value();
    EXPECT_FALSE(PrepareRollouts(out.path() / "run", {}, {}, BestOps(), pool, {}));
  }
  // Another recipe does not go into this folder.
  EXPECT_FALSE(PrepareRollouts(out.path() / "run", {}, {"prompts.seed=9"}, BestOps(), pool, {}));
}

TEST(DelegatedRollouts, NoticesWhatTheDiskChanged) {
  TempFolder folder, out;
  ThreadPool pool(1);
  OpenSampled(TinyRollouts(folder), out.path() / "run", pool);
  const auto responses = out.path() / "run/responses.log";
  const std::string whole = ReadFile(responses, 1 << 20).value();
  for (const std::size_t at : {0u, 4u, 8u}) {  // a length, a token, a log-prob
    std::string changed = whole;
    changed[at + 1] = static_cast<char>(changed[at + 1] ^ 0x40);
    ASSERT_TRUE(WriteFileAtomic(responses, changed));
    const auto run = SampledRun::Open(out.path() / "run", BestOps(), pool);
    ASSERT_FALSE(run);
    EXPECT_EQ(run.error().blame, Blame::kMachine);
    EXPECT_FALSE(PrepareRollouts(out.path() / "run", {}, {}, BestOps(), pool, {}));
  }
}

TEST(Delegation, RecipesAreToldApart) {
  TempFolder folder;
  const auto kind = [&](const std::string& text) {
    EXPECT_TRUE(WriteFileAtomic(folder.path() / "recipe.toml", text));
    return KindOfRecipe(folder.path());
  };
  EXPECT_EQ(kind("commitment = true\n[data]\nsteps = 2\n").value(), DisputeKind::kTraining);
  EXPECT_EQ(kind("[model]\nseed = 2\n[prompts]\nseed = 1\n").value(), DisputeKind::kRollout);
  EXPECT_EQ(kind("  prompts.seed = 1\n").value(), DisputeKind::kRollout);
  EXPECT_EQ(kind("[promptly]\n").value(), DisputeKind::kTraining);  // whose reader complains
  EXPECT_EQ(kind("about = \"a run\"\n[environment]\nname = \"echo\"\n").value(),
            DisputeKind::kReinforcement);
  const auto run = ReadDelegatedProgram(folder.path() / "recipe.toml", {});
  ASSERT_FALSE(run);  // it names no weights
  EXPECT_EQ(run.error().blame, Blame::kOperator);
  EXPECT_NE(run.error().what.find("rollouts.toml"), std::string::npos);
}

}  // namespace
}  // namespace waggle
