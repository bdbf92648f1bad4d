#include "channel/source_book.h"

#include <algorithm>

namespace waggle {
namespace {

constexpr double kFade = 0.3;         // weight of the newest observation
constexpr double kWeightMin = 0.001;  // everybody gets a chance to show what it can do

}  // namespace

void SourceBook::Tell(const std::vector<std::string>& urls) {
  for (Source& source : sources_) source.told = false;
  for (std::string url : urls) {
    if (!url.starts_with("http://") && !url.starts_with("https://")) continue;
    while (url.ends_with('/')) url.pop_back();
    const auto known = std::ranges::find(sources_, url, &Source::url);
    if (known != sources_.end()) {
      known->told = true;
    } else if (sources_.size() < kSourcesMax) {
      sources_.push_back({.url = std::move(url)});
    }
  }
}

std::optional<std::size_t> SourceBook::Pick(std::int64_t now_ms) {
  double total = 0;
  const auto weight = [](const Source& source) {
    return std::max(kWeightMin, source.success * source.bytes_per_ms);
  };
  for (const Source& source : sources_)
    if (Fit(source, now_ms)) total += weight(source);
  if (total == 0) return std::nullopt;
  double at = static_cast<double>(rng_.NextU64() >> 11) * 0x1p-53 * total;
  std::optional<std::size_t> picked;
  for (std::size_t i = 0; i < sources_.size() && at >= 0; ++i) {
    if (!Fit(sources_[i], now_ms)) continue;
    picked = i;
    at -= weight(sources_[i]);
  }
  return picked;
}

std::optional<std::int64_t> SourceBook::BehindFor(std::int64_t now_ms) const {
  std::optional<std::int64_t> least;
  for (const Source& source : sources_) {
    if (!source.told || source.lied || !source.behind) continue;
    const std::int64_t wait = std::max<std::int64_t>(0, source.ready_at_ms - now_ms);
    least = std::min(least.value_or(wait), wait);
  }
  return least;
}

void SourceBook::Served(std::size_t i, std::uint64_t bytes, std::int64_t ms) {
  Source& source = sources_[i];
  source.behind = false;
  source.rest_ms = 0;
  source.success += kFade * (1 - source.success);
  // A tiny blob measures the round trip, not the line.
  constexpr std::uint64_t kTelling = 64 << 10;
  if (bytes < kTelling) return;
  const double rate =
      static_cast<double>(bytes) / static_cast<double>(std::max<std::int64_t>(1, ms));
  source.bytes_per_ms += kFade * (rate - source.bytes_per_ms);
}

void SourceBook::Failed(std::size_t i, std::int64_t now_ms) {
  Source& source = sources_[i];
  source.behind = false;
  source.success /= 2;
  source.rest_ms = std::clamp(2 * source.rest_ms, settings_.rest_ms_min, settings_.rest_ms_max);
  source.ready_at_ms = now_ms + source.rest_ms;
}

void SourceBook::Behind(std::size_t i, std::int64_t now_ms) {
  sources_[i].behind = true;
  sources_[i].ready_at_ms = now_ms + settings_.behind_ms;
}

void SourceBook::StillBehind(std::int64_t now_ms) {
  for (std::size_t i = 0; i < sources_.size(); ++i)
    if (sources_[i].behind) Failed(i, now_ms);
}

void SourceBook::Lied(std::size_t i) { sources_[i].lied = true; }

}  // namespace waggle
