#include "proofs/fingerprint/grail_copies.h"

#include <algorithm>

#include "base/check.h"

namespace waggle {
namespace {

bool Passes(std::uint64_t shared, std::uint64_t smaller, std::uint64_t thousandths) {
  return smaller > 0 && shared * 1000 >= thousandths * smaller;
}

}  // namespace

std::uint64_t CopyWatch::Shared(const Counts& a, const Counts& b) {
  std::uint64_t shared = 0;
  for (const auto& [digest, count] : a) {
    const auto other = b.find(digest);
    if (other != b.end()) shared += std::min(count, other->second);
  }
  return shared;
}

std::optional<std::string> CopyWatch::Later(const std::string& a, const std::string& b,
                                            bool interval) const {
  for (const KeptWindow& window : windows_) {
    if (!interval && &window != &windows_.back()) continue;
    const auto one = window.find(a), two = window.find(b);
    if (one == window.end() || two == window.end()) continue;
    if (Shared(one->second.counts, two->second.counts) == 0) continue;
    const auto &s = one->second.time, &t = two->second.time;
    if (!s || !t || *s == *t) return std::nullopt;
    return *s > *t ? a : b;
  }
  return std::nullopt;
}

CopyFindings CopyWatch::Window(std::vector<GrailFile> files) {
  KeptWindow& now = windows_.emplace_back();
  if (windows_.size() > kCopiesWindows) windows_.pop_front();
  for (const GrailFile& file : files) {
    Kept& kept = now[file.worker];
    Check(kept.total == 0 && kept.counts.empty(), "each worker has one file");
    kept.time = file.time;
    kept.total = file.completions.size();
    for (const Digest256& digest : file.completions) ++kept.counts[digest];
  }
  KeptWindow all;  // of the interval
  for (const KeptWindow& window : windows_) {
    for (const auto& [worker, kept] : window) {
      Kept& sum = all[worker];
      sum.total += kept.total;
      for (const auto& [digest, count] : kept.counts) sum.counts[digest] += count;
    }
  }
  CopyFindings found;
  for (auto a = now.begin(); a != now.end(); ++a) {
    for (auto b = std::next(a); b != now.end(); ++b) {
      for (const bool interval : {false, true}) {
        const Kept& one = interval ? all.at(a->first) : a->second;
        const Kept& two = interval ? all.at(b->first) : b->second;
        const std::uint64_t shared = Shared(one.counts, two.counts),
                            smaller = std::min(one.total, two.total);
        if (!Passes(shared, smaller, interval ? kCopiesInterval : kCopiesWindow)) continue;
        CopyPair pair{a->first, b->first, interval,
                      shared,   smaller,  Later(a->first, b->first, interval)};
        if (gate_ == CopyGate::kBoth) {
          found.gated.insert({pair.first, pair.second});
        } else if (pair.later) {
          found.gated.insert(*pair.later);
        }
        found.pairs.push_back(std::move(pair));
        break;
      }
    }
  }
  return found;
}

}  // namespace waggle
