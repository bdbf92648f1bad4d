#include "net/client.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <atomic>
#include <utility>

#include "net/address.h"
#include "net/conversations.h"
#include "net/fetch_client.h"
#include "net/quiet.h"
#include "net/status.h"
#include "net/tls.h"
#include "node.grpc.pb.h"

namespace waggle {
namespace {

constexpr std::int64_t kTickMs = 20;
constexpr std::int64_t kCloseMs = 500;
// A server that vanished without a word is noticed after their sum.
constexpr int kKeepaliveMs = 30'000, kKeepaliveTimeoutMs = 15'000;

// A server must not fill our memory either: gRPC ends a stream that would exceed the quota, and a
// client's quota is shared with nobody. Twice a frame, because gRPC holds it while it is parsed.
std::size_t QuotaBytes(const NetLimits& limits) {
  return 2 * limits.frame_bytes_max + 16 * kChunkBytesMax;
}

grpc::ChannelArguments Arguments(const NetLimits& limits) {
  grpc::ChannelArguments arguments;
  const auto set = [&](const char* name, std::size_t value) {
    arguments.SetInt(name, static_cast<int>(value));
  };
  // A connection of its own: never one that was made for another pin.
  set(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  set(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  set(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1);
  set(GRPC_ARG_ENABLE_RETRIES, 0);  // a conversation is not repeatable
  set(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0);
  set(GRPC_COMPRESSION_CHANNEL_ENABLED_ALGORITHMS_BITSET, 1u << GRPC_COMPRESS_NONE);
  set(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH,
      std::max(limits.frame_bytes_max, kChunkBytesMax) + 64 * 1024);
  set(GRPC_ARG_MAX_SEND_MESSAGE_LENGTH, static_cast<std::size_t>(1) << 30 | 64 * 1024);
  set(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, static_cast<std::size_t>(limits.connect_ms_max));
  set(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
  set(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
  set(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  set(GRPC_ARG_ENABLE_CHANNELZ, 0);
  grpc::ResourceQuota quota;
  quota.Resize(QuotaBytes(limits));
  arguments.SetResourceQuota(quota);
  return arguments;
}

}  // namespace

class NodeClient::Impl final : public grpc::ClientBidiReactor<v1::Frame, v1::Frame>, public Line {
 public:
  Impl(const HostPort& address, const Pin& pin, const NetLimits& limits, Clock& clock)
      : limits_(limits), conversations_(Conversations::Side::kClient, limits, clock) {
    const bool v6 = address.host.find(':') != std::string::npos;
    peer_ = fmt::format("{}{}{}:{}", v6 ? "[" : "", address.host, v6 ? "]" : "", address.port);
    channel_ =
        grpc::CreateCustomChannel("dns:///" + peer_, PinnedTls(pin, wrong_pin_), Arguments(limits));
    stub_ = v1::Node::NewStub(channel_);
  }

  void Start() {
    id_ = *conversations_.Open(*this, peer_);
    stub_->async()->Converse(&context_, this);
    AddHold();  // Send and Close start operations from the caller's thread
    StartCall();
  }

  ~Impl() override {
    conversations_.CloseAll(CloseReason::kClosedHere);
    if (!conversations_.WaitForLines(kCloseMs)) {
      conversations_.CancelAll();
      while (!conversations_.WaitForLines(1000)) conversations_.CancelAll();
    }
  }

  bool Next(Event& event, std::int64_t timeout_ms) {
    for (;;) {
      conversations_.Tick();
      const std::int64_t wait_ms = std::clamp<std::int64_t>(timeout_ms, 0, kTickMs);
      if (conversations_.Next(event, wait_ms)) return true;
      timeout_ms -= kTickMs;
      if (timeout_ms <= 0) return false;
    }
  }
  bool Send(std::span<const std::uint8_t> frame) { return conversations_.Send(id_, {&frame, 1}); }
  void Close() { conversations_.Close(id_); }

  tl::expected<std::uint64_t, FetchError> Fetch(const Digest256& hash, std::uint64_t offset,
                                                std::uint64_t bytes_max, const Sink& sink) {
    return FetchFrom(*stub_, hash, offset, bytes_max, limits_.idle_ms_max, *wrong_pin_, sink);
  }

  // --- from gRPC ------------------------------------------------------------------------------
  void OnReadInitialMetadataDone(bool good) override {
    if (good) {
      conversations_.Begin(id_, peer_);
    } else {
      conversations_.OnBroken(id_);
    }
  }
  void OnReadDone(bool good) override {
    std::string bytes;
    if (good) bytes = std::move(*in_.mutable_envelope());
    in_.Clear();
    conversations_.OnRead(id_, good, std::move(bytes));
  }
  void OnWriteDone(bool good) override { conversations_.OnWrite(id_, good); }
  void OnDone(const grpc::Status& status) override {
    const CloseReason reason = *wrong_pin_ ? CloseReason::kWrongPin : FromGrpc(status);
    conversations_.OnDone(id_, reason,
                          fmt::format("{}: {}", ToString(reason), status.error_message()));
  }

  // --- from Conversations ---------------------------------------------------------------------
  void StartRead() override { ClientBidiReactor::StartRead(&in_); }
  void StartWrite(std::string frame, bool more) override {
    out_.set_envelope(std::move(frame));
    grpc::WriteOptions options;
    if (more) options.set_buffer_hint();
    ClientBidiReactor::StartWrite(&out_, options);
  }
  void End(CloseReason reason) override {
    if (reason == CloseReason::kClosedHere || reason == CloseReason::kClosedByPeer) {
      StartWritesDone();
    } else {
      context_.TryCancel();
    }
  }
  void Cancel() override { context_.TryCancel(); }
  void Release() override { RemoveHold(); }

 private:
  const NetLimits limits_;
  Conversations conversations_;
  std::string peer_;
  const std::shared_ptr<std::atomic<bool>> wrong_pin_ = std::make_shared<std::atomic<bool>>(false);
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::Node::Stub> stub_;
  grpc::ClientContext context_;
  ConnectionId id_{};
  v1::Frame in_, out_;
};

Result<std::unique_ptr<NodeClient>> NodeClient::Connect(const std::string& address, const Pin& pin,
                                                        const NetLimits& limits, Clock& clock) {
  WG_TRY(CheckLimits(limits));
  WG_ASSIGN(const HostPort parsed, ParseHostPort(address));
  QuietGrpc();
  auto impl = std::make_unique<Impl>(parsed, pin, limits, clock);
  impl->Start();
  return std::unique_ptr<NodeClient>(new NodeClient(std::move(impl)));
}

NodeClient::NodeClient(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
NodeClient::~NodeClient() = default;

bool NodeClient::Next(Event& event, std::int64_t timeout_ms) {
  return impl_->Next(event, timeout_ms);
}
bool NodeClient::Send(std::span<const std::uint8_t> frame) { return impl_->Send(frame); }
void NodeClient::Close() { impl_->Close(); }
tl::expected<std::uint64_t, FetchError> NodeClient::FetchBlob(const Digest256& hash,
                                                              std::uint64_t offset,
                                                              std::uint64_t bytes_max,
                                                              const Sink& sink) {
  return impl_->Fetch(hash, offset, bytes_max, sink);
}

}  // namespace waggle
