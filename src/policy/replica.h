// The policy that a node samples from: replaced in one pointer swap by a version that is complete
// and verified, or not at all.
#pragma once

#include <memory>
#include <mutex>

#include "policy/manifest.h"

namespace waggle {

struct HeldPolicy {
  PolicyVersion version;  // never apart from its weights: nothing can be tagged with another
  PolicyImage image;
};

class PolicyReplica {
 public:
  explicit PolicyReplica(ImageForm form) : form_(std::move(form)) {}

  // Any thread; null before the first version. What a caller holds stays whole while it holds it.
  std::shared_ptr<const HeldPolicy> Current() const;

  // One caller at a time. Builds the version beside the held one and swaps. Refused, with the held
  // one untouched: an older or equal version and a patch on another base (Blame::kOperator), and
  // whatever is not what its manifest says (Blame::kPeer).
  Status Advance(const PolicyManifest& manifest, std::span<const std::uint8_t> payload,
                 ThreadPool& pool);

 private:
  const ImageForm form_;
  mutable std::mutex mutex_;
  std::shared_ptr<const HeldPolicy> current_;  // guarded by mutex_
};

}  // namespace waggle
