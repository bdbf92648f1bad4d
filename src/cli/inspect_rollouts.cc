#include "cli/inspect_rollouts.h"

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/files.h"
#include "base/hex.h"
#include "rollout/encoding.h"
#include "tokenizer/tokenizer.h"

namespace waggle {
namespace {

constexpr std::size_t kFileBytesMax = std::size_t{1} << 30;
constexpr std::size_t kGroupsShown = 3, kRolloutsShown = 4, kIdsShown = 64;

// Quoted, with control characters escaped: a model's text must not command the terminal.
std::string Shown(const std::optional<Tokenizer>& tokenizer, std::span<const TokenId> ids) {
  if (tokenizer) {
    return nlohmann::json(tokenizer->Decode(ids))
        .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  }
  std::string text;
  for (std::size_t i = 0; i < std::min(ids.size(), kIdsShown); ++i) {
    if (i > 0) text += ',';
    text += std::to_string(ids[i]);
  }
  return ids.size() > kIdsShown ? text + ",..." : text;
}

const char* NameOf(FinishReason finish) {
  return finish == FinishReason::kStop     ? "stopped"
         : finish == FinishReason::kLength ? "cut off"
                                           : "aborted";
}

void Print(const Rollout& rollout, const std::optional<Tokenizer>& tokenizer) {
  double logp = 0, sampled = 0;
  for (std::size_t t = 0; t < rollout.tokens.size(); ++t) {
    if (rollout.loss_mask[t] == 0) continue;
    logp += static_cast<double>(rollout.logps[t]);
    sampled += 1;
  }
  std::string versions;
  for (const VersionSpan& span : rollout.spans) {
    versions += fmt::format("{}{}", versions.empty() ? "" : ", ", span.version.value);
    if (span.first_token > 0) versions += fmt::format(" from token {}", span.first_token);
  }
  fmt::print(
      "    reward {:<7.4g} {:>4} tokens, {}, log-prob {:.3f} ({:.3f} a token), version {}\n      "
      "{}\n",
      rollout.reward, rollout.tokens.size(), NameOf(rollout.finish), logp,
      sampled > 0 ? logp / sampled : 0.0, versions, Shown(tokenizer, rollout.tokens));
}

void Print(const GroupRecord& record, const std::optional<Tokenizer>& tokenizer,
           std::size_t rollouts_max) {
  const Lease& lease = record.lease;
  double reward = 0;
  for (const Rollout& rollout : record.group.rollouts)
    reward += static_cast<double>(rollout.reward);
  const std::size_t n = record.group.rollouts.size();
  fmt::print(
      "\nlease {:#x}: {} task {:#x}, policy version {}, key {:08x}:{:08x}, temperature {}, {} "
      "rollouts, mean reward {:.4g}\n",
      lease.id.value, lease.environment, lease.task_seed, lease.version.value, lease.key[0],
      lease.key[1], lease.sampling.temperature, n, n > 0 ? reward / static_cast<double>(n) : 0.0);
  fmt::print("  prompt {}\n", Shown(tokenizer, record.group.prompt));
  for (std::size_t i = 0; i < std::min(n, rollouts_max); ++i)
    Print(record.group.rollouts[i], tokenizer);
  if (n > rollouts_max) fmt::print("    ... and {} more\n", n - rollouts_max);
}

}  // namespace

bool HoldsRollouts(const std::filesystem::path& file) {
  std::string begin(kRecordsMagic.size(), '\0');
  std::ifstream in(file, std::ios::binary);
  in.read(begin.data(), static_cast<std::streamsize>(begin.size()));
  return in && begin == kRecordsMagic;
}

Status InspectRollouts(const std::filesystem::path& file, bool all) {
  WG_ASSIGN(const std::string bytes, ReadFile(file, kFileBytesMax));
  const auto records =
      DecodeRecords({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()});
  if (!records) return Fail(records.error().blame, "{}: {}", file.string(), records.error().what);
  std::optional<Tokenizer> tokenizer;
  if (auto found =
          Tokenizer::Load(std::filesystem::absolute(file).parent_path().parent_path() / "base"))
    tokenizer.emplace(std::move(*found));
  std::size_t rollouts = 0, tokens = 0;
  for (const GroupRecord& record : *records) {
    rollouts += record.group.rollouts.size();
    for (const Rollout& rollout : record.group.rollouts) tokens += rollout.tokens.size();
  }
  fmt::print("{} groups, {} rollouts, {} response tokens\n", records->size(), rollouts, tokens);
  const std::size_t shown = all ? records->size() : std::min(records->size(), kGroupsShown);
  for (std::size_t i = 0; i < shown; ++i)
    Print((*records)[i], tokenizer, all ? ~std::size_t{0} : kRolloutsShown);
  if (shown < records->size())
    fmt::print("\n... and {} more groups: `--samples` shows all\n", records->size() - shown);
  return {};
}

}  // namespace waggle
