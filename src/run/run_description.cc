#include "run/run_description.h"

#include <algorithm>

#include "base/hex.h"
#include "protocol/limits.h"

namespace waggle {
namespace {

constexpr std::size_t kTextMax = std::size_t{1} << 20;
constexpr std::size_t kTokenizerMax = std::size_t{96} << 20;

struct Texts {
  std::string recipe, model, tokenizer;
  Hash256 start{};
  std::vector<Bytes> teacher;  // weights, config.json; or none
};
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, Texts>
void Fields(T& x, V&& v) {
  v.Text(1, "recipe", x.recipe, kTextMax);
  v.Text(2, "config.json", x.model, kTextMax);
  v.Text(3, "tokenizer.json", x.tokenizer, kTokenizerMax);
  v(4, "start", x.start);
  v.BlobsIfAny(5, "teacher", x.teacher, 2, kTextMax);
}

constexpr const char* kThereIsATeacher = "teacher";

std::vector<Bytes> Encoded(const TeacherDescription& teacher) {
  const std::string config = WriteModelConfig(teacher.model, "float32");
  return {Bytes(teacher.weights.begin(), teacher.weights.end()),
          Bytes(config.begin(), config.end())};
}

Result<TeacherDescription> DecodeTeacher(const std::vector<Bytes>& blobs) {
  TeacherDescription teacher;
  if (blobs.size() != 2 || blobs[0].size() != teacher.weights.size())
    return Fail(Blame::kPeer, "it is weights and a config.json");
  std::ranges::copy(blobs[0], teacher.weights.begin());
  WG_ASSIGN(teacher.model, ParseModelConfig(std::string(blobs[1].begin(), blobs[1].end())));
  return teacher;
}

// Whatever is wrong in it, the host sent it.
tl::unexpected<Error> FromPeer(const char* part, const Error& error) {
  return Fail(Blame::kPeer, "the run's description: {}: {}", part, error.what);
}

}  // namespace

Status CheckJoinable(const Recipe& recipe) {
  const auto& o = recipe.orchestrator;
  const std::size_t prompt =
      std::min<std::uint64_t>(recipe.model.positions, kWire.prompt_tokens_max);
  if (!GroupsFitOneMessage(o.group_size, recipe.sampling.tokens_max, prompt,
                           recipe.trust.fingerprinted()))
    return Fail(Blame::kOperator,
                "a group of {} answers of {} tokens does not fit one message between nodes; make "
                "orchestrator.group_size or sampling.tokens_max smaller",
                o.group_size, recipe.sampling.tokens_max);
  if (recipe.watch.on && recipe.watch.act)
    return Fail(Blame::kOperator,
                "watch.act = true is for local runs: where others join, going back to a checkpoint "
                "would take back signed policies, and steps that anybody can verify; set "
                "watch.act = false, and the host watches and says what it sees");
  if (recipe.trainer.rounding == "stochastic")
    return Fail(Blame::kOperator,
                "trainer.rounding = \"stochastic\" needs the run's own trainer at every worker; a "
                "run that others join rounds to nearest");
  for (const std::string& setting : recipe.environment.settings) {
    if (setting.find("_file=") != std::string::npos && setting.back() != '=')
      return Fail(Blame::kOperator,
                  "environment setting {}: tasks from a file are only known where the file is; a "
                  "run that others join needs tasks made from seeds",
                  setting);
  }
  return {};
}

Bytes EncodeDescription(Recipe recipe, const ModelConfig& model, const Tokenizer& tokenizer,
                        const Hash256& start, const std::optional<TeacherDescription>& teacher) {
  recipe.model.path.clear();
  recipe.trainer.algorithm.kl.teacher.clear();
  return WireEncode(Texts{WriteToml(recipe), WriteModelConfig(model, "float32"), tokenizer.ToJson(),
                          start, teacher ? Encoded(*teacher) : std::vector<Bytes>()},
                    kDescriptionBytesMax);
}

Result<RunDescription> DecodeDescription(std::span<const std::uint8_t> bytes, const Hash256& run) {
  const auto texts = WireDecode<Texts>(bytes, kDescriptionBytesMax);
  if (!texts) return Fail(Blame::kPeer, "the run's description: {}", texts.error().what);
  Recipe recipe;
  if (const Status read = ReadToml(texts->recipe, "recipe", recipe); !read)
    return FromPeer("recipe", read.error());
  std::optional<TeacherDescription> teacher;
  if (!texts->teacher.empty()) {
    auto decoded = DecodeTeacher(texts->teacher);
    if (!decoded) return FromPeer("teacher", decoded.error());
    teacher.emplace(std::move(*decoded));
    recipe.trainer.algorithm.kl.teacher = kThereIsATeacher;
  }
  if (const Status valid = Validate(recipe); !valid) return FromPeer("recipe", valid.error());
  if (const Status joinable = CheckJoinable(recipe); !joinable)
    return FromPeer("recipe", joinable.error());
  if (RunIdOf(recipe, texts->start) != run)
    return Fail(Blame::kPeer, "the run's description is of run {}, the invite names {}",
                ToHex(RunIdOf(recipe, texts->start)), ToHex(run));
  auto model = ParseModelConfig(texts->model);
  if (!model) return FromPeer("config.json", model.error());
  auto tokenizer = Tokenizer::FromJson(texts->tokenizer);
  if (!tokenizer) return FromPeer("tokenizer.json", tokenizer.error());
  return RunDescription{std::move(recipe), std::move(*model), std::move(*tokenizer), texts->start,
                        std::move(teacher)};
}

}  // namespace waggle
