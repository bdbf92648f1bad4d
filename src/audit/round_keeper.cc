#include "audit/round_keeper.h"

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "proofs/beacon/recorded_rounds.h"

namespace waggle {
namespace {

namespace fs = std::filesystem;

constexpr double kPatienceSeconds = 10;  // after its time; then people hear that it is missing
constexpr std::size_t kLinesMax = kRecordedRoundsMax;  // the newest

std::optional<std::uint64_t> RoundOf(std::string_view line) {
  if (line.size() > kRoundLineBytesMax) return std::nullopt;
  const auto row = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!row.is_object()) return std::nullopt;
  const auto round = row.find("round");
  if (round == row.end() || !round->is_number_unsigned()) return std::nullopt;
  return round->get<std::uint64_t>();
}

// Whether a line ends before this place: else other bytes stand there now than did.
bool GoesOnAt(std::ifstream& in, std::uintmax_t at) {
  if (at == 0) return true;
  in.seekg(static_cast<std::streamoff>(at - 1));
  return in.get() == '\n';
}

}  // namespace

Result<std::optional<RoundKeeper>> RoundKeeper::For(const TrustRecipe& trust,
                                                    const fs::path& place) {
  const bool wanted = trust.audits && trust.beacon == "drand";
  if (!wanted && place.empty()) return std::optional<RoundKeeper>();
  if (!wanted)
    return Fail(Blame::kOperator,
                "--drand-rounds: needs trust.audits = true and trust.beacon = \"drand\"");
  if (place.empty())
    return Fail(Blame::kOperator,
                "trust.beacon = \"drand\": --drand-rounds names the file or folder of its rounds");
  std::error_code error;
  if (!fs::exists(place, error))
    return Fail(Blame::kOperator, "--drand-rounds: {} is not there", place.string());
  return std::optional<RoundKeeper>(RoundKeeper(*FindDrandNetwork(trust.drand), place));
}

RoundKeeper::Looked RoundKeeper::Look(const WantRound& want, double unix_seconds) {
  Looked looked;
  if (!lines_.contains(want.round)) ReadNews();
  const auto line = lines_.find(want.round);
  if (line != lines_.end()) {
    const auto round = ParseDrandRound(*network_, line->second);
    if (round) {
      looked.found = RoundFound{want.epoch, round->round, round->signature, round->previous,
                                round->randomness};
      return looked;
    }
    if (forged_.insert(want.round).second)
      looked.say = fmt::format("drand: {}: {}", place_.string(), round.error().what);
    lines_.erase(line);  // another line may say it better
    return looked;
  }
  const double due =
      want.round <= kDrandRoundMax
          ? static_cast<double>(DrandTimeOf(*network_, std::max<std::uint64_t>(1, want.round)))
          : 0;
  if (unix_seconds >= due + kPatienceSeconds && said_.insert(want.round).second)
    looked.say = fmt::format("epoch {} waits for round {} of drand {}: it is not in {} yet",
                             want.epoch, want.round, network_->name, place_.string());
  return looked;
}

void RoundKeeper::ReadNews() {
  std::error_code error;
  if (!fs::is_directory(place_, error)) return ReadNews(place_);
  for (const auto& entry : fs::directory_iterator(place_, error)) {
    if (entry.is_regular_file(error)) ReadNews(entry.path());
  }
}

// What came since the last time; all of a file that was written anew.
void RoundKeeper::ReadNews(const fs::path& path) {
  std::error_code error;
  const std::uintmax_t size = fs::file_size(path, error);
  const fs::file_time_type written =
      error ? fs::file_time_type{} : fs::last_write_time(path, error);
  if (error) return;
  File& file = files_[path];
  if (size == file.size && written == file.written) return;
  std::ifstream in(path, std::ios::binary);
  if (size <= file.size || !GoesOnAt(in, file.read)) file.read = 0;
  file.size = size;
  file.written = written;
  if (size - file.read > kRoundFileBytesMax) return;
  in.seekg(static_cast<std::streamoff>(file.read));
  for (std::string line; std::getline(in, line);) {
    const bool whole = !in.eof();
    Take(line);  // a last line without its end may be all of it
    if (whole) file.read += line.size() + 1;
  }
}

void RoundKeeper::Take(std::string_view line) {
  const auto round = RoundOf(line);
  if (!round) return;
  lines_.insert_or_assign(*round, std::string(line));
  if (lines_.size() > kLinesMax) lines_.erase(lines_.begin());
}

std::optional<std::string> WhyNotBeacon(const RunTerms& terms, const BeaconExternal& beacon) {
  for (const DrandNetwork* network : {&DrandQuicknet(), &DrandDefault()}) {
    if (static_cast<std::uint64_t>(network->genesis) * 1000 != terms.drand_genesis_ms ||
        static_cast<std::uint64_t>(network->period) * 1000 != terms.drand_period_ms)
      continue;
    const auto value = VerifyDrandRound(*network, beacon.round, beacon.signature, beacon.previous);
    if (!value) return fmt::format("the beacon of epoch {}: {}", beacon.epoch, value.error().what);
    if (*value == beacon.value) return std::nullopt;
    return fmt::format("the beacon of epoch {} is not what round {} of drand says", beacon.epoch,
                       beacon.round);
  }
  return "the run's beacon is of no network that is known here";
}

}  // namespace waggle
