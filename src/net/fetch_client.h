// The client's side of Fetch. (Internal to net/.)
#pragma once

#include <atomic>

#include "net/client.h"
#include "node.grpc.pb.h"

namespace waggle {

// NodeClient::FetchBlob over one stub. `wrong_pin` is read when the connection failed.
tl::expected<std::uint64_t, FetchError> FetchFrom(v1::Node::Stub& stub, const Digest256& hash,
                                                  std::uint64_t offset, std::uint64_t bytes_max,
                                                  std::int64_t idle_ms_max,
                                                  const std::atomic<bool>& wrong_pin,
                                                  const NodeClient::Sink& sink);

}  // namespace waggle
