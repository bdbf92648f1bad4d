#include "policy/replica.h"

namespace waggle {

std::shared_ptr<const HeldPolicy> PolicyReplica::Current() const {
  const std::lock_guard lock(mutex_);
  return current_;
}

Status PolicyReplica::Advance(const PolicyManifest& manifest, std::span<const std::uint8_t> payload,
                              ThreadPool& pool) {
  const auto held = Current();
  if (held != nullptr && manifest.version <= held->version)
    return Fail(Blame::kOperator, "version {} would replace version {}", manifest.version.value,
                held->version.value);
  if (manifest.base && (held == nullptr || *manifest.base != held->version))
    return Fail(Blame::kOperator, "version {} builds on version {}, which is not the held one",
                manifest.version.value, manifest.base->value);
  WG_ASSIGN(PolicyImage image,
            ImageFrom(manifest, payload, form_, held == nullptr ? nullptr : &held->image, pool));
  auto next = std::make_shared<const HeldPolicy>(HeldPolicy{manifest.version, std::move(image)});
  const std::lock_guard lock(mutex_);
  current_ = std::move(next);
  return {};
}

}  // namespace waggle
