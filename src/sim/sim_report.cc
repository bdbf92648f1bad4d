#include "sim/sim_report.h"

#include <algorithm>
#include <charconv>

namespace waggle {
namespace {

std::string Span(Micros time) {
  const Micros seconds = time / kSecond;
  return fmt::format("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
}

std::string Size(std::uint64_t bytes) {
  double size = static_cast<double>(bytes);
  const char* unit = "B";
  for (const char* larger : {"KiB", "MiB", "GiB", "TiB"}) {
    if (size < 1024) break;
    size /= 1024;
    unit = larger;
  }
  return fmt::format("{:.4g} {}", size, unit);
}

std::string Row(const char* name, const std::string& value) {
  return fmt::format("  {:<16} {}\n", name, value);
}

bool NeedsQuotes(std::string_view text) {
  return text.find_first_not_of(
             "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"
             "./=,:") != std::string_view::npos;
}
std::string Quoted(const std::string& text) {
  if (!text.empty() && !NeedsQuotes(text)) return text;
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

// Positions of part's elements in whole.
template <class T>
std::vector<std::uint32_t> IndicesIn(const std::vector<T>& whole, const std::vector<T>& part) {
  std::vector<std::uint32_t> indices;
  for (std::size_t i = 0, at = 0; i < whole.size() && at < part.size(); ++i) {
    if (!(whole[i] == part[at])) continue;
    indices.push_back(static_cast<std::uint32_t>(i));
    ++at;
  }
  return indices;
}

}  // namespace

std::string ReportOf(const Scenario& scenario, const SimResult& result, double real_seconds) {
  const Promises::Stats& ledger = result.ledger;
  std::string outcomes, staleness;
  for (const auto& [outcome, count] : ledger.outcomes)
    outcomes += fmt::format("{}{} {}", outcomes.empty() ? "" : ", ", count, ToString(outcome));
  for (const auto& [behind, count] : ledger.staleness)
    staleness += fmt::format("{}{}: {}", staleness.empty() ? "" : ", ", behind, count);
  std::string text = scenario.title + "\n";
  text += Row("steps", fmt::format("{}, mean reward {:.3f} at first, {:.3f} at last",
                                   ledger.trained, ledger.first_reward, ledger.last_reward));
  text += Row("leases", fmt::format("{} granted: {}", ledger.granted, outcomes));
  text += Row("staleness", staleness.empty() ? "-" : staleness + " (versions behind: groups)");
  if (ledger.forged + ledger.foreign > 0)
    text += Row("lies", fmt::format("{} groups left out as forged, {} sampled otherwise than asked",
                                    ledger.forged, ledger.foreign));
  text += Row("idle", fmt::format("workers {:.1f} %, trainer {:.1f} %", 100 * result.worker_idle,
                                  100 * result.trainer_idle));
  text += Row("host", fmt::format("{} commits of {} entries, {} restarts, {} steps caught up",
                                  result.host.commits, result.host.entries, ledger.restarts,
                                  result.host.caught_up));
  text +=
      Row("peaks", fmt::format("{} links, {} workers in the book, {} waiting, {} grants, {} "
                               "under way",
                               result.network.open_peak, ledger.workers_peak, ledger.waiting_peak,
                               ledger.open_peak, Size(result.network.queued_peak)));
  text +=
      Row("network",
          fmt::format("{} frames up ({}), {} down ({}), {} of weights, {} links, {} turned away",
                      result.network.frames_up, Size(result.network.bytes_up),
                      result.network.frames_down, Size(result.network.bytes_down),
                      Size(result.network.fetched), result.network.links, result.network.refused));
  text += Row("time",
              fmt::format("{} virtual ({} until the run was over) in {:.2f} s, {} events",
                          Span(result.ended), Span(result.finished), real_seconds, result.events));
  text += Row("digest", fmt::format("{:016x}", result.digest));
  return text;
}

std::string IndexText(const std::vector<std::uint32_t>& indices) {
  std::string text;
  for (std::size_t i = 0; i < indices.size();) {
    std::size_t end = i + 1;
    while (end < indices.size() && indices[end] == indices[end - 1] + 1) ++end;
    text += text.empty() ? "" : ",";
    text += std::to_string(indices[i]);
    if (end - i > 1) text += "-" + std::to_string(indices[end - 1]);
    i = end;
  }
  return text.empty() ? "none" : text;
}

Result<std::vector<std::uint32_t>> ParseIndices(std::string_view text, std::size_t end) {
  std::vector<std::uint32_t> indices;
  if (text == "none") return indices;
  const auto wrong = [&] {
    return Fail(Blame::kOperator, "'{}' is no list of indices below {}, as 0,3-7 or none", text,
                end);
  };
  const char* at = text.data();
  const char* const stop = at + text.size();
  while (true) {
    std::uint32_t low = 0, high = 0;
    auto read = std::from_chars(at, stop, low);
    if (read.ec != std::errc{}) return wrong();
    high = low;
    if (read.ptr != stop && *read.ptr == '-') {
      read = std::from_chars(read.ptr + 1, stop, high);
      if (read.ec != std::errc{}) return wrong();
    }
    if (high < low || high >= end || (!indices.empty() && low <= indices.back())) return wrong();
    for (std::uint32_t i = low; i <= high; ++i) indices.push_back(i);
    if (read.ptr == stop) return indices;
    if (*read.ptr != ',') return wrong();
    at = read.ptr + 1;
  }
}

Schedule PartOf(const Schedule& whole, const std::vector<std::uint32_t>& faults,
                const std::vector<std::uint32_t>& workers) {
  Schedule part;
  for (const std::uint32_t i : faults) part.faults.push_back(whole.faults[i]);
  part.workers = workers;
  return part;
}

std::string CommandFor(const Reproduction& what, const Schedule& whole, const Schedule& part) {
  std::string command = fmt::format("waggle sim {} --seed {}", Quoted(what.file), what.seed);
  for (const std::string& setting : what.overrides) command += " --set " + Quoted(setting);
  for (const PlantDoc& doc : kPlants) {
    if (doc.plant == what.plant) command += std::string(" --plant ") + doc.name;
  }
  if (part.faults != whole.faults)
    command += " --only-faults " + IndexText(IndicesIn(whole.faults, part.faults));
  if (part.workers != whole.workers) command += " --only-workers " + IndexText(part.workers);
  return command;
}

}  // namespace waggle
