// GRAIL's detection of copies between workers of one window, as deployed (sheet grail.md 1.12): the
// digests of completions in two files are compared as multisets, and whoever shares too many is
// gated. A pure function of files and their times.
//
//   shared = sum over digests of min(count in a, count in b);   ratio = shared / min(total a, total
//   b) gated: ratio >= 0.05 in a window, or >= 0.03 over the last 12 windows
//
// Up to release 0.0.59 both sides of a pair were gated, so a copier took its victim with it; since
// then the later alone is, and both are spared when times are equal or not known. There the time is
// that of a bucket which the worker owns: whoever dates its file back is the author. Where a ledger
// commits to files, the place of the commitment is the time, and nobody can choose it.
//
// Only workers that are looked at in the same window are compared. What has few possible answers is
// shared by honest workers too: the thresholds are for long texts.
//
// The sheet does not say what the interval's time is; here the later is told in the first window of
// the interval in which the two share anything.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "proofs/fingerprint/grail.h"

namespace waggle {

// In thousandths, so that nobody rounds.
inline constexpr std::uint64_t kCopiesWindow = 50, kCopiesInterval = 30;
inline constexpr std::size_t kCopiesWindows = 12;

// What one worker handed in for a window, as far as it was looked at.
struct GrailFile {
  std::string worker;
  std::optional<std::uint64_t> time;   // upload, or place in the ledger; nothing: not known
  std::vector<Digest256> completions;  // GrailCompletionDigest of each
};

enum class CopyGate : std::uint8_t {
  kBoth,   // as it was before 0.0.60: victims too
  kLater,  // as deployed
};

struct CopyPair {
  std::string first, second;  // by name
  bool interval = false;      // found over the interval, not in the window alone
  std::uint64_t shared = 0, smaller = 0;
  std::optional<std::string> later;  // nothing: times are equal or not known
};
struct CopyFindings {
  std::vector<CopyPair> pairs;  // that share too much, whoever is gated
  std::set<std::string> gated;
};

// Follows windows. Bounded: kCopiesWindows of files as they came.
class CopyWatch {
 public:
  explicit CopyWatch(CopyGate gate) : gate_(gate) {}
  // The files of one window; REQUIRES each worker once. A pair stands in the findings once, for the
  // window if both thresholds are passed.
  CopyFindings Window(std::vector<GrailFile> files);

 private:
  using Counts = std::map<Digest256, std::uint64_t>;
  struct Kept {
    Counts counts;
    std::uint64_t total = 0;
    std::optional<std::uint64_t> time;
  };
  using KeptWindow = std::map<std::string, Kept>;
  static std::uint64_t Shared(const Counts& a, const Counts& b);
  std::optional<std::string> Later(const std::string& a, const std::string& b, bool interval) const;

  const CopyGate gate_;
  std::deque<KeptWindow> windows_;  // oldest first
};

}  // namespace waggle
