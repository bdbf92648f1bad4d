#include "roles/policy_fetch.h"

#include <chrono>

#include "base/check.h"
#include "crypto/hash.h"

namespace waggle {
namespace {

// Attempts at one blob; each goes on where the last one stopped.
constexpr int kAttempts = 5;

}  // namespace

Result<Bytes> FetchVerified(NodeClient& client, const Digest256& hash, std::uint64_t bytes_max) {
  Bytes bytes;
  const auto sink = [&](std::uint64_t offset, std::span<const std::byte> data) -> Status {
    Check(offset == bytes.size(), "pieces come in order");
    const auto* begin = reinterpret_cast<const std::uint8_t*>(data.data());
    bytes.insert(bytes.end(), begin, begin + data.size());
    return {};
  };
  for (int attempt = 1;; ++attempt) {
    const auto fetched = client.FetchBlob(hash, bytes.size(), bytes_max, sink);
    if (fetched) break;
    const FetchFailure failure = fetched.error().failure;
    const bool again = failure == FetchFailure::kBusy || failure == FetchFailure::kStalled ||
                       failure == FetchFailure::kSourceFailed;
    if (!again || attempt == kAttempts) return Forward(fetched.error().error);
  }
  if (Sha256(bytes) != hash)
    return Fail(Blame::kPeer, "a blob of {} bytes is not the one that was announced", bytes.size());
  return bytes;
}

PolicyFetch::PolicyFetch(Shape shape, const Ops& ops)
    : shape_(std::move(shape)),
      form_(FormOf(shape_.model, shape_.numerics.weights, shape_.lora ? &*shape_.lora : nullptr)),
      ops_(ops) {}

PolicyFetch::~PolicyFetch() {
  if (under_way_.valid()) under_way_.wait();
}

void PolicyFetch::Start(NodeClient& client, const FetchPolicy& wanted) {
  Check(!busy(), "one policy at a time");
  under_way_ =
      std::async(std::launch::async, [this, &client, wanted] { return Run(client, wanted); });
}

std::optional<Result<PolicyFetch::Loaded>> PolicyFetch::Take(int timeout_ms) {
  if (!under_way_.valid()) return std::nullopt;
  if (under_way_.wait_for(std::chrono::milliseconds(timeout_ms)) != std::future_status::ready)
    return std::nullopt;
  return under_way_.get();
}

Result<PolicyFetch::Loaded> PolicyFetch::Run(NodeClient& client, const FetchPolicy& wanted) {
  WG_ASSIGN(const Bytes encoded, FetchVerified(client, wanted.manifest, kManifestBytesMax));
  WG_ASSIGN(const PolicyManifest manifest, DecodeManifest(encoded));
  if (manifest.run != shape_.run || manifest.version != wanted.version)
    return Fail(Blame::kPeer, "the manifest is of another run or version than was announced");
  // A payload is never larger than all weights and a frame around each.
  std::uint64_t largest = 1 << 16;
  for (const auto& [name, form] : form_) largest += form.bytes() + name.size() + 256;
  if (manifest.payload_bytes > largest)
    return Fail(Blame::kPeer, "a policy of {} bytes, where the model's weights are {}",
                manifest.payload_bytes, largest);
  Bytes payload;
  payload.reserve(manifest.payload_bytes);
  for (std::size_t c = 0; c < manifest.chunks.size(); ++c) {
    WG_ASSIGN(const Bytes chunk, FetchVerified(client, manifest.chunks[c], manifest.ChunkSize(c)));
    payload.insert(payload.end(), chunk.begin(), chunk.end());
  }
  const bool full = manifest.kind == PolicyKind::kFull;
  if (!full && !image_)
    return Fail(Blame::kOperator, "a delta, and nothing that it could build on");
  WG_ASSIGN(PolicyImage image,
            ImageFrom(manifest, payload, form_, full ? nullptr : &*image_, pool_));
  std::optional<LoraParameters> lora;
  if (shape_.lora) {
    WG_ASSIGN(lora, LoraOf(image, shape_.model, *shape_.lora));
  }
  WG_ASSIGN(auto model, Model::Create(shape_.model, shape_.numerics, ImageSource(image),
                                      lora ? &*lora : nullptr, ops_));
  image_.emplace(std::move(image));
  return Loaded{manifest.version, std::move(model), encoded.size() + payload.size()};
}

}  // namespace waggle
