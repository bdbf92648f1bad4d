// Policies as a volunteer fetches them: manifest, chunks, image, working weights, on a thread of
// its own. Nothing is sampled from that does not have the root which was announced.
#pragma once

#include <future>
#include <memory>
#include <optional>

#include "model/model.h"
#include "net/client.h"
#include "policy/manifest.h"
#include "policy/model_image.h"
#include "roles/join_core.h"

namespace waggle {

// Exactly the blob with this SHA-256, or an error: Blame::kPeer for other bytes.
Result<Bytes> FetchVerified(NodeClient& client, const Digest256& hash, std::uint64_t bytes_max);

class PolicyFetch {
 public:
  struct Shape {
    Hash256 run{};
    ModelConfig model;
    NumericsConfig numerics;
    std::optional<LoraConfig> lora;
  };
  PolicyFetch(Shape shape, const Ops& ops);
  ~PolicyFetch();  // after the fetch that is under way

  struct Loaded {
    PolicyVersion version;
    std::shared_ptr<const Model> model;
    std::uint64_t bytes = 0;  // fetched
  };
  // One at a time; `client` outlives it.
  void Start(NodeClient& client, const FetchPolicy& wanted);
  bool busy() const { return under_way_.valid(); }
  // Once, when it is done; waits up to timeout_ms.
  std::optional<Result<Loaded>> Take(int timeout_ms = 0);

 private:
  Result<Loaded> Run(NodeClient& client, const FetchPolicy& wanted);

  const Shape shape_;
  const ImageForm form_;
  const Ops& ops_;
  ThreadPool pool_{1};                // the engine's is busy
  std::optional<PolicyImage> image_;  // of the newest version, base of the next; the fetch's own
  std::future<Result<Loaded>> under_way_;
};

}  // namespace waggle
