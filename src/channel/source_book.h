// Which mirror to ask next. A state machine without I/O: what happened and when comes in, an answer
// comes out. The draw is weighted by success and speed (sheet prime.md 5), so that load spreads and
// the slow are asked less; the weighting that the sheet describes is repaired: a failure lowers the
// estimate instead of recording the timeout as a speed, a mirror that fails is left alone for twice
// as long each time, and one that lied is never asked again.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/philox.h"

namespace waggle {

struct SourceSettings {
  std::int64_t rest_ms_min = 1'000, rest_ms_max = 120'000;  // after a failure; doubles
  std::int64_t behind_ms = 30;  // until a mirror that has not got it yet is asked again
};

class SourceBook {
 public:
  explicit SourceBook(std::uint64_t seed, const SourceSettings& settings = {})
      : settings_(settings), rng_(seed) {}

  // All that there are. What is known of those that stay is kept, and liars stay liars.
  void Tell(const std::vector<std::string>& urls);

  // The mirror to ask now; nothing: none is fit to be asked.
  std::optional<std::size_t> Pick(std::int64_t now_ms);
  // How long until one of those that are merely behind may be asked; nothing: there are none.
  std::optional<std::int64_t> BehindFor(std::int64_t now_ms) const;

  void Served(std::size_t source, std::uint64_t bytes, std::int64_t ms);
  void Failed(std::size_t source, std::int64_t now_ms);  // dead, slow, refused
  void Behind(std::size_t source, std::int64_t now_ms);  // alive, and does not have it yet
  void StillBehind(std::int64_t now_ms);  // those that were waited for in vain: a failure of each
  void Lied(std::size_t source);          // other bytes than the hash says

  const std::string& url(std::size_t source) const { return sources_[source].url; }
  std::size_t size() const { return sources_.size(); }
  bool dropped(std::size_t source) const { return sources_[source].lied; }

 private:
  struct Source {
    std::string url;
    bool told = true, lied = false, behind = false;
    double success = 1, bytes_per_ms = 1'000;  // fading means; the start is a guess, soon corrected
    std::int64_t ready_at_ms = 0, rest_ms = 0;
  };
  bool Fit(const Source& source, std::int64_t now_ms) const {
    return source.told && !source.lied && source.ready_at_ms <= now_ms;
  }

  const SourceSettings settings_;
  Rng rng_;
  std::vector<Source> sources_;  // never shrinks while Tell is bounded: see kSourcesMax
};

// Sources that are remembered; later ones are ignored.
inline constexpr std::size_t kSourcesMax = 64;

}  // namespace waggle
