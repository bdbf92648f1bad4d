#include "zoo/workers.h"

#include <algorithm>

#include "base/check.h"
#include "proofs/fingerprint/fingerprint.h"
#include "run/admission.h"

namespace waggle {
namespace {

constexpr std::uint8_t kTokens = Bit(Sees::kLogProbs) | Bit(Sees::kRace) | Bit(Sees::kDistribution);
constexpr std::uint8_t kPrefilled = Bit(Sees::kStates) | Bit(Sees::kLogProbs);
constexpr std::uint8_t kEverything = kTokens | Bit(Sees::kStates);
constexpr std::uint8_t kChosen = kPrefilled | Bit(Sees::kDistribution);
constexpr std::uint32_t kCandidates = 8;  // of best-of-n

EngineConfig EngineSize() { return {.kv_bytes = std::size_t{8} << 20}; }

// Samples under some weights what `otherwise` makes of the question, and says what it was asked.
Result<Handed> HandIn(ZooRun& run, const Lease& lease, const Ops& ops, ZooWeights weights,
                      PolicyVersion says, const AskOtherwise& otherwise = nullptr) {
  WG_ASSIGN(auto model, run.ModelOf(weights, ops));
  WG_ASSIGN(Group group,
            SampleGroup(run.codec(), lease, model, says, EngineSize(), run.pool(), otherwise));
  const std::uint64_t sampled = TokensOf(group);
  return Handed{.lease = lease,
                .group = std::move(group),
                .prover = std::move(model),
                .prover_prompt = {},
                .sampled = sampled};
}

// Log-probs of the group's tokens as these weights have them: one prefill.
Status Rescore(ZooRun& run, const Lease& lease, const Model& model, Rollout& rollout,
               const std::vector<TokenId>& prompt) {
  std::vector<TokenId> tokens = prompt;
  tokens.insert(tokens.end(), rollout.tokens.begin(), rollout.tokens.end());
  WG_ASSIGN(const std::vector<float> scored,
            ScoreTokens(model, run.pool(), tokens, lease.sampling.temperature));
  rollout.logps.assign(scored.begin() + static_cast<std::ptrdiff_t>(prompt.size()), scored.end());
  return {};
}

// What the grader gives to each rollout.
std::vector<float> RewardsOf(const ZooRun& run, const Lease& lease, const Group& group) {
  const Admission admission =
      AdmitUnder(run.recipe(), lease, group, PolicyVersion{2}, 2, run.codec(), run.config().vocab);
  std::vector<float> rewards;
  for (const Rollout& rollout : admission.scored.group.rollouts) rewards.push_back(rollout.reward);
  rewards.resize(group.rollouts.size());
  return rewards;
}

// Of several groups that answer the same lease, the best rollout in each place.
Result<Handed> BestOf(ZooRun& run, std::vector<Handed> candidates) {
  Check(!candidates.empty(), "a choice");
  Handed best = candidates.front();
  std::vector<float> top = RewardsOf(run, best.lease, best.group);
  for (std::size_t c = 1; c < candidates.size(); ++c) {
    const std::vector<float> rewards = RewardsOf(run, best.lease, candidates[c].group);
    best.sampled += candidates[c].sampled;
    for (std::size_t r = 0; r < top.size(); ++r) {
      if (rewards[r] <= top[r]) continue;
      top[r] = rewards[r];
      best.group.rollouts[r] = candidates[c].group.rollouts[r];
    }
  }
  return best;
}

Result<Handed> BestOfN(ZooRun& run, const Lease& lease, const Ops& ops) {
  std::vector<Handed> candidates;
  for (std::uint32_t n = 0; n < kCandidates; ++n) {
    WG_ASSIGN(Handed one, HandIn(run, lease, ops, ZooRun::WeightsOf(lease.version), lease.version,
                                 [n](StartSampling& ask) { ask.first_sample += 1000 * n; }));
    candidates.push_back(std::move(one));
  }
  return BestOf(run, std::move(candidates));
}

// Honest work under each version that the host still takes; the better of the two is handed in.
Result<Handed> VersionShopping(ZooRun& run, const Lease& lease, const Ops& ops) {
  std::vector<Handed> candidates;
  for (const std::uint64_t back : {0, 1}) {
    const PolicyVersion version{lease.version.value - back};
    WG_ASSIGN(Handed one, HandIn(run, lease, ops, ZooRun::WeightsOf(version), version));
    candidates.push_back(std::move(one));
  }
  return BestOf(run, std::move(candidates));
}

Result<Handed> Colder(ZooRun& run, const Lease& lease, const Ops& ops) {
  WG_ASSIGN(Handed handed,
            HandIn(run, lease, ops, ZooRun::WeightsOf(lease.version), lease.version,
                   [](StartSampling& ask) { ask.options.config.temperature *= 0.5f; }));
  for (Rollout& rollout : handed.group.rollouts)
    WG_TRY(Rescore(run, lease, *handed.prover, rollout, handed.group.prompt));
  return handed;
}

// Honest work that goes over to the newer version in the middle of every answer, where a worker
// that fetches it just then would.
Result<Handed> SpanShopping(ZooRun& run, const Lease& lease, const Ops& ops) {
  WG_ASSIGN(auto before, run.ModelOf(ZooWeights::kVersion0, ops));
  WG_ASSIGN(auto after, run.ModelOf(ZooWeights::kVersion1, ops));
  WG_ASSIGN(Handed handed, HandInHonestly(run, lease, ops));
  Engine engine(before, PolicyVersion{0}, EngineSize(), run.pool());
  WG_ASSIGN(const RequestId request, engine.Submit(handed.group.prompt, lease.group_size,
                                                   SamplingOptionsOf(lease, run.codec())));
  static_cast<void>(request);
  for (Rollout& rollout : handed.group.rollouts) rollout = Rollout{};
  bool swapped = false;
  while (!engine.idle()) {
    for (const TokenEvent& token : engine.Step()) {
      Rollout& rollout = handed.group.rollouts[token.sample];
      if (rollout.spans.empty() || rollout.spans.back().version != token.version) {
        rollout.spans.push_back(
            {static_cast<std::uint32_t>(rollout.tokens.size()), token.version, token.kept_kv});
      }
      rollout.tokens.push_back(token.token);
      rollout.logps.push_back(token.logp);
      rollout.loss_mask.push_back(1);
      if (token.finish) rollout.finish = *token.finish;
    }
    const bool begun = handed.group.rollouts.front().tokens.size() >= 2;
    if (begun && !swapped) engine.Swap(after, PolicyVersion{1}, SwapPolicy::kRecompute);
    swapped = swapped || begun;
  }
  handed.sampled = TokensOf(handed.group);
  return handed;
}

Result<Handed> DraftThenPrefill(ZooRun& run, const Lease& lease, const Ops& ops) {
  WG_ASSIGN(Handed handed, HandIn(run, lease, ops, ZooWeights::kDraft, lease.version));
  WG_ASSIGN(handed.prover, run.ModelOf(ZooRun::WeightsOf(lease.version), ops));
  for (Rollout& rollout : handed.group.rollouts)
    WG_TRY(Rescore(run, lease, *handed.prover, rollout, handed.group.prompt));
  return handed;
}

// Drops the second half of an answer.
void Halve(Rollout& rollout) {
  const std::size_t half = std::max<std::size_t>(1, rollout.tokens.size() / 2);
  rollout.tokens.resize(half), rollout.logps.resize(half), rollout.loss_mask.resize(half);
}

// Half of each answer, and then the token that ends it, with its true log-prob.
Result<Handed> TruncatedThinking(ZooRun& run, const Lease& lease, const Ops& ops) {
  WG_ASSIGN(Handed handed, HandInHonestly(run, lease, ops));
  handed.sampled = 0;
  for (Rollout& rollout : handed.group.rollouts) {
    Halve(rollout);
    rollout.tokens.back() = run.codec().stop_ids().front();
    rollout.finish = FinishReason::kStop;
    WG_TRY(Rescore(run, lease, *handed.prover, rollout, handed.group.prompt));
    handed.sampled += rollout.tokens.size();
  }
  return handed;
}

// Half of each answer, said to have met the budget.
Result<Handed> CutShort(ZooRun& run, const Lease& lease, const Ops& ops) {
  WG_ASSIGN(Handed handed, HandInHonestly(run, lease, ops));
  handed.sampled = 0;
  for (Rollout& rollout : handed.group.rollouts) {
    Halve(rollout);
    rollout.finish = FinishReason::kLength;
    handed.sampled += rollout.tokens.size();
  }
  return handed;
}

Lease NextLease(const ZooRun& run, const Lease& lease) {
  return run.LeaseOf(static_cast<std::uint32_t>(lease.id.value & 0xffffff) + 1000, lease.version);
}

// The tasks of other places until one is short, answered honestly, handed in for this place.
Result<Handed> EasyTask(ZooRun& run, const Lease& lease, const Ops& ops) {
  Lease easiest = NextLease(run, lease);
  std::size_t least = SIZE_MAX;
  for (std::uint32_t i = 0; i < 16; ++i) {
    const Lease other = run.LeaseOf(
        static_cast<std::uint32_t>(lease.id.value & 0xffffff) + 1000 + i, lease.version);
    const auto task = run.codec().environment().MakeTask(other.task_seed);
    const std::size_t size = run.codec().PromptTokens(*task).size();
    if (size < least) least = size, easiest = other;
  }
  WG_ASSIGN(Handed handed, HandInHonestly(run, easiest, ops));
  handed.lease = lease;
  handed.group.lease = lease.id;
  return handed;
}

Result<Handed> CopiedVerbatim(ZooRun& run, const Lease& lease, const Ops& ops) {
  WG_ASSIGN(Handed handed, HandInHonestly(run, lease, ops));
  handed.stolen = true;
  handed.sampled = 0;
  return handed;
}

Result<Handed> CopiedRelabelled(ZooRun& run, const Lease& lease, const Ops& ops) {
  WG_ASSIGN(Handed handed, HandInHonestly(run, NextLease(run, lease), ops));
  handed.lease = lease;
  handed.group.lease = lease.id;
  handed.sampled = 0;
  return handed;
}

Result<Handed> CopiedFromItself(ZooRun& run, const Lease& lease, const Ops& ops) {
  WG_ASSIGN(Handed handed, HandInHonestly(run, lease, ops));
  auto& rollouts = handed.group.rollouts;
  for (std::size_t r = 1; r < rollouts.size(); ++r) rollouts[r] = rollouts[0];
  handed.sampled = rollouts[0].tokens.size();
  return handed;
}

Result<Handed> Reordered(ZooRun& run, const Lease& lease, const Ops& ops) {
  WG_ASSIGN(Handed handed, HandInHonestly(run, lease, ops));
  auto& rollouts = handed.group.rollouts;
  std::rotate(rollouts.begin(), rollouts.begin() + 1, rollouts.end());
  return handed;
}

Result<Handed> ForgedLogps(ZooRun& run, const Lease& lease, const Ops& ops) {
  WG_ASSIGN(Handed handed, HandInHonestly(run, lease, ops));
  for (Rollout& rollout : handed.group.rollouts) {
    for (float& logp : rollout.logps) logp *= 0.5f;
  }
  return handed;
}

Result<Handed> ForgedReward(ZooRun& run, const Lease& lease, const Ops& ops) {
  WG_ASSIGN(Handed handed, HandInHonestly(run, lease, ops));
  for (Rollout& rollout : handed.group.rollouts) rollout.reward = 1;
  return handed;
}

// Says of every token that the environment wrote it: then nothing is drawn, and nothing trains.
Result<Handed> MaskedTokens(ZooRun& run, const Lease& lease, const Ops& ops) {
  WG_ASSIGN(Handed handed, HandInHonestly(run, lease, ops));
  for (Rollout& rollout : handed.group.rollouts)
    std::fill(rollout.loss_mask.begin(), rollout.loss_mask.end(), std::uint8_t{0});
  return handed;
}

// Tokens that nobody sampled, chosen to teach something, with the log-probs that the policy gives
// them: what a peer of a swarm that shares decoded rollouts may send.
Result<Handed> PoisonedRollout(ZooRun& run, const Lease& lease, const Ops& ops) {
  WG_ASSIGN(Handed handed, HandInHonestly(run, lease, ops));
  handed.sampled = 0;
  const TokenId lesson = handed.group.prompt.front();
  const TokenId stop = run.codec().stop_ids().front();
  for (Rollout& rollout : handed.group.rollouts) {
    rollout.tokens.assign(6, lesson);
    rollout.tokens.back() = stop;
    rollout.loss_mask.assign(6, 1);
    rollout.spans.resize(1);
    rollout.finish = FinishReason::kStop;
    WG_TRY(Rescore(run, lease, *handed.prover, rollout, handed.group.prompt));
  }
  return handed;
}

Result<Handed> PromptInjected(ZooRun& run, const Lease& lease, const Ops& ops) {
  std::vector<TokenId> read;
  WG_ASSIGN(Handed handed, HandIn(run, lease, ops, ZooRun::WeightsOf(lease.version), lease.version,
                                  [&](StartSampling& ask) {
                                    const std::size_t half = ask.prompt.size() / 2;
                                    ask.prompt.insert(
                                        ask.prompt.begin(), ask.prompt.begin(),
                                        ask.prompt.begin() + static_cast<std::ptrdiff_t>(half));
                                    read = ask.prompt;
                                  }));
  handed.prover_prompt = std::move(read);
  return handed;
}

Result<Handed> ForgedStates(ZooRun& run, const Lease& lease, const Ops& ops, ZooStates states) {
  WG_ASSIGN(Handed handed, HandInHonestly(run, lease, ops));
  handed.states = states;
  return handed;
}

// Hands in under `weights` and says that they are those of the lease.
auto Under(ZooWeights weights) {
  return [weights](ZooRun& run, const Lease& lease, const Ops& ops) {
    return HandIn(run, lease, ops, weights, lease.version);
  };
}
auto Asking(AskOtherwise otherwise) {
  return [otherwise](ZooRun& run, const Lease& lease, const Ops& ops) {
    return HandIn(run, lease, ops, ZooRun::WeightsOf(lease.version), lease.version, otherwise);
  };
}
auto Forging(ZooStates states) {
  return [states](ZooRun& run, const Lease& lease, const Ops& ops) {
    return ForgedStates(run, lease, ops, states);
  };
}

Adversary Worker(std::string_view name, std::string_view does, std::string_view pays) {
  return {name, ZooRole::kWorker, does, pays};
}

std::vector<WorkerCheat> Weights() {
  return {
      {Worker("wrong-model", "samples from another model of the same shape",
              "any model that is at hand is cheaper than fetching the run's"),
       0, PolicyVersion{1}, Under(ZooWeights::kOtherSeed)},
      {Worker("nearby-weights", "samples from weights that are each off by a thousandth",
              "a rounded or pruned copy that hardly differs"),
       0, PolicyVersion{1}, Under(ZooWeights::kNearby)},
      {Worker("int8-weights", "samples from int8 weights", "half the memory, twice the speed"), 0,
       PolicyVersion{1}, Under(ZooWeights::kInt8)},
      {Worker("int4-weights", "samples from 4-bit weights", "a card of a quarter of the size"), 0,
       PolicyVersion{1}, Under(ZooWeights::kDraft)},
      {Worker("lora-removed", "samples from the base weights where the policy has an adapter",
              "one set of weights for every run"),
       0, PolicyVersion{2}, Under(ZooWeights::kVersion1)},
      {Worker("stale-relabelled", "samples from the version before and says it is the newest",
              "no download, and the price of fresh work"),
       0, PolicyVersion{1}, Under(ZooWeights::kVersion0)},
      {Worker("neighbour-version", "samples from the version before and says so",
              "no download; allowed while it is not too old"),
       kEverything, PolicyVersion{1},
       [](ZooRun& run, const Lease& lease, const Ops& ops) {
         return HandIn(run, lease, ops, ZooWeights::kVersion0, PolicyVersion{0});
       }},
      {Worker("draft-then-prefill",
              "samples from a cheap draft, then computes states and log-probs by one prefill",
              "decoding is dear, a prefill is not"),
       kPrefilled, PolicyVersion{1}, DraftThenPrefill},
  };
}

std::vector<WorkerCheat> Sampling() {
  return {
      {Worker("temperature-changed",
              "samples at half the temperature and reports the log-probs of the lease's",
              "safer answers look better to whoever ranks workers"),
       kPrefilled, PolicyVersion{1}, Colder},
      {Worker("greedy", "takes the likeliest token each time", "the same, to the end"), kPrefilled,
       PolicyVersion{1}, Asking([](StartSampling& ask) { ask.options.config.top_k = 1; })},
      {Worker("replaced-seed", "draws with a key of its own",
              "with a free key it can look for the answer that it wants"),
       kChosen, PolicyVersion{1}, Asking([](StartSampling& ask) { ask.options.key[0] ^= 0x5eed; })},
      {Worker("best-of-n", "samples eight times as much and hands in what was graded best",
              "its rewards are higher than anybody's, and bend the policy"),
       kChosen, PolicyVersion{1}, BestOfN},
      {Worker("version-shopping",
              "samples under both versions that the host still takes, honestly, and hands in the "
              "better answer",
              "the same, by other means: a choice of two"),
       kEverything, PolicyVersion{1}, VersionShopping},
      {Worker("span-shopping",
              "changes the version in the middle of its answers, where no swap was asked for",
              "every place for the border is another answer to choose from"),
       kEverything, PolicyVersion{1}, SpanShopping},
      {Worker("truncated-thinking", "ends every answer halfway, with the token that ends it",
              "half the tokens for the price of a rollout"),
       kPrefilled, PolicyVersion{1}, TruncatedThinking},
      {Worker("cut-short", "stops halfway and says that the budget was met",
              "half the tokens for the price of a rollout"),
       kPrefilled | Bit(Sees::kRace), PolicyVersion{1}, CutShort},
      {Worker("prompt-injected", "lets the model read more than the prompt",
              "a hint in front of the question earns rewards"),
       0, PolicyVersion{1}, PromptInjected},
      {Worker("easy-task", "looks for an easy task and answers that one", "less to sample"),
       kChosen, PolicyVersion{1}, EasyTask},
  };
}

std::vector<WorkerCheat> Copies() {
  return {
      {Worker("copied-verbatim", "hands in what another worker sampled for its lease",
              "work that costs nothing"),
       kEverything, PolicyVersion{1}, CopiedVerbatim},
      {Worker("copied-relabelled", "hands in another lease's group under its own lease",
              "work that costs nothing"),
       kChosen, PolicyVersion{1}, CopiedRelabelled},
      {Worker("copied-from-itself", "samples one rollout and hands it in four times",
              "a quarter of the work"),
       kChosen, PolicyVersion{1}, CopiedFromItself},
      {Worker("re-ordered", "hands in its rollouts in another order",
              "hides that some of them are copies"),
       kChosen, PolicyVersion{1}, Reordered},
      {Worker("forged-logps", "halves every log-prob", "importance weights that it can steer"),
       Bit(Sees::kStates) | Bit(Sees::kRace) | Bit(Sees::kDistribution), PolicyVersion{1},
       ForgedLogps},
      {Worker("forged-reward", "claims a reward of 1 for every answer",
              "the best worker of the run, wherever claims are believed"),
       kEverything, PolicyVersion{1}, ForgedReward},
      {Worker("masked-tokens", "says that the environment wrote its tokens, so that none is drawn",
              "what is read and not drawn can be anything"),
       kEverything, PolicyVersion{1}, MaskedTokens},
      {Worker("poisoned-rollout", "writes the answers itself, and computes their log-probs",
              "the policy learns what it wants it to learn"),
       kPrefilled, PolicyVersion{1}, PoisonedRollout},
      {Worker("constant-toploc", "honest tokens, states of one repeated number",
              "nothing has to be computed after tokens are copied or drafted"),
       kTokens, PolicyVersion{1}, Forging(ZooStates::kConstant)},
      {Worker("zero-sketch", "honest tokens, sketches of zeros", "the same"), kTokens,
       PolicyVersion{1}, Forging(ZooStates::kZero)},
      {Worker("unrelated-states", "honest tokens, states of another rollout", "the same"), kTokens,
       PolicyVersion{1}, Forging(ZooStates::kUnrelated)},
  };
}

}  // namespace

std::uint64_t TokensOf(const Group& group) {
  std::uint64_t tokens = 0;
  for (const Rollout& rollout : group.rollouts) tokens += rollout.tokens.size();
  return tokens;
}

Result<Handed> HandInHonestly(ZooRun& run, const Lease& lease, const Ops& ops) {
  return HandIn(run, lease, ops, ZooRun::WeightsOf(lease.version), lease.version);
}

const std::vector<WorkerCheat>& WorkerCheats() {
  static const std::vector<WorkerCheat> cheats = [] {
    std::vector<WorkerCheat> all = Weights();
    for (auto part : {Sampling(), Copies()}) all.insert(all.end(), part.begin(), part.end());
    return all;
  }();
  return cheats;
}

}  // namespace waggle
