#include "net/server.h"

#include <grpcpp/grpcpp.h>
#include <sys/resource.h>

#include <utility>

#include "net/conversations.h"
#include "net/fetches.h"
#include "net/gate.h"
#include "net/quiet.h"
#include "net/status.h"
#include "net/tls.h"
#include "node.grpc.pb.h"

namespace waggle {
namespace {

// Of one stream, and of one connection: bytes on their way that nobody has asked for yet. Fixed,
// not measured by gRPC, so that it can be part of a limit (kSlackBytes in gate.cc).
constexpr int kWindowBytes = 1 << 20;
constexpr std::int64_t kStopMs = 500;
// Metadata is gRPC's own, and short.
constexpr int kMetadataBytesMax = 8 << 10;

class RefusedConversation final : public grpc::ServerBidiReactor<v1::Frame, v1::Frame> {
 public:
  explicit RefusedConversation(CloseReason reason) { Finish(ToGrpc(reason)); }
  void OnDone() override { delete this; }
};

// One Converse call. Deletes itself at its end.
class ServerLine final : public grpc::ServerBidiReactor<v1::Frame, v1::Frame>, public Line {
 public:
  ServerLine(Conversations& conversations, grpc::CallbackServerContext* context,
             std::shared_ptr<Socket> socket)
      : conversations_(conversations), context_(context), socket_(std::move(socket)) {}

  // False: refused, and never seen by Conversations.
  tl::expected<void, CloseReason> Open() {
    const auto id = conversations_.Open(*this, socket_->peer.host);
    if (!id) return tl::unexpected(id.error());
    id_ = *id;
    StartSendInitialMetadata();  // the client's Opened
    conversations_.Begin(id_, socket_->peer.text);
    return {};
  }

  void OnReadDone(bool good) override {
    std::string bytes;
    if (good) {
      bytes = std::move(*in_.mutable_envelope());
      ++socket_->frames;
      socket_->frame_bytes += bytes.size();
      socket_->spoken = true;
    }
    in_.Clear();
    conversations_.OnRead(id_, good, std::move(bytes));
  }
  void OnWriteDone(bool good) override { conversations_.OnWrite(id_, good); }
  void OnCancel() override { conversations_.OnBroken(id_); }
  void OnDone() override {
    const std::int16_t killed = socket_->killed;
    const CloseReason reason = killed >= 0               ? static_cast<CloseReason>(killed)
                               : context_->IsCancelled() ? CloseReason::kLost
                                                         : CloseReason::kClosedByPeer;
    conversations_.OnDone(id_, reason, {});
    --socket_->conversations;
    delete this;
  }

  void StartRead() override { ServerBidiReactor::StartRead(&in_); }
  void StartWrite(std::string frame, bool more) override {
    out_.set_envelope(std::move(frame));
    grpc::WriteOptions options;
    if (more) options.set_buffer_hint();
    ServerBidiReactor::StartWrite(&out_, options);
  }
  void End(CloseReason reason) override { Finish(ToGrpc(reason)); }
  void Cancel() override { context_->TryCancel(); }
  void Release() override {}

 private:
  Conversations& conversations_;
  grpc::CallbackServerContext* const context_;
  const std::shared_ptr<Socket> socket_;
  ConnectionId id_{};
  v1::Frame in_, out_;
};

class Service final : public v1::Node::CallbackService {
 public:
  Service(Gate& gate, Conversations& conversations, Fetches& fetches)
      : gate_(gate), conversations_(conversations), fetches_(fetches) {}

  grpc::ServerBidiReactor<v1::Frame, v1::Frame>* Converse(
      grpc::CallbackServerContext* context) override {
    auto socket = gate_.Find(context->peer());
    if (socket == nullptr) return new RefusedConversation(CloseReason::kLost);
    if (socket->conversations.fetch_add(1) > 0) {
      --socket->conversations;
      return new RefusedConversation(CloseReason::kTooManyConnections);
    }
    auto line = std::make_unique<ServerLine>(conversations_, context, socket);
    if (const auto opened = line->Open(); !opened) {
      --socket->conversations;
      return new RefusedConversation(opened.error());
    }
    return line.release();
  }

  grpc::ServerWriteReactor<v1::Chunk>* Fetch(grpc::CallbackServerContext* context,
                                             const v1::FetchRequest* request) override {
    return fetches_.Start(context, request, gate_.Find(context->peer()));
  }

 private:
  Gate& gate_;
  Conversations& conversations_;
  Fetches& fetches_;
};

Status CheckDescriptors(const NetLimits& limits) {
  rlimit allowed{};
  ::getrlimit(RLIMIT_NOFILE, &allowed);
  constexpr std::size_t kOthers = 64;
  if (limits.sockets_max + kOthers <= allowed.rlim_cur) return {};
  return Fail(Blame::kOperator, "sockets_max is {}, but this process may open {} files (ulimit -n)",
              limits.sockets_max, allowed.rlim_cur);
}

}  // namespace

class NodeServer::Impl {
 public:
  Impl(std::unique_ptr<Gate> gate, const NetLimits& limits, BlobSource* blobs, Clock& clock)
      : gate_(std::move(gate)),
        conversations_(Conversations::Side::kServer, limits, clock),
        fetches_(limits, blobs, clock),
        service_(*gate_, conversations_, fetches_) {}
  ~Impl() { Stop(); }

  Status Start(const Certificate& certificate, const NetLimits& limits) {
    grpc::ServerBuilder builder;
    acceptor_ = builder.experimental().AddExternalConnectionAcceptor(
        grpc::ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD,
        ServerTls(certificate));
    builder.RegisterService(&service_);
    builder.SetMaxReceiveMessageSize(-1);  // ours is typed: Conversations, and the gate
    for (const auto algorithm : {GRPC_COMPRESS_DEFLATE, GRPC_COMPRESS_GZIP})
      builder.SetCompressionAlgorithmSupportStatus(algorithm, false);
    const auto set = [&](const char* name, std::size_t value) {
      builder.AddChannelArgument(name, static_cast<int>(value));
    };
    set(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0);
    set(GRPC_ARG_MAX_CONCURRENT_STREAMS, 2 + limits.fetches_per_connection_max);
    set(GRPC_ARG_MAX_METADATA_SIZE, kMetadataBytesMax);
    set(GRPC_ARG_HTTP2_BDP_PROBE, 0);
    set(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, kWindowBytes);
    set(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, static_cast<std::size_t>(limits.first_frame_ms_max));
    // Clients ask for signs of life; every ten seconds is not yet a flood.
    set(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 10'000);
    set(GRPC_ARG_ENABLE_CHANNELZ, 0);
    server_ = builder.BuildAndStart();
    if (server_ == nullptr) return Fail(Blame::kMachine, "gRPC does not start; its log says why");
    gate_->Start([this](int fd) { Hand(fd); },
                 [this] {
                   conversations_.Tick();
                   fetches_.Tick();
                 });
    return {};
  }

  void Stop() {
    if (server_ == nullptr) return;
    gate_->StopAccepting();
    conversations_.CloseAll(CloseReason::kStopping);
    conversations_.WaitForLines(kStopMs);
    conversations_.CancelAll();
    gate_->Stop();  // nothing is handed to the server any more
    fetches_.Stop();
    server_->Shutdown(gpr_inf_past(GPR_CLOCK_REALTIME));
    server_->Wait();
    server_.reset();
  }

  Gate& gate() { return *gate_; }
  Conversations& conversations() { return conversations_; }
  const Fetches& fetches() const { return fetches_; }

 private:
  void Hand(int fd) {
    grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters connection;
    connection.listener_fd = -1;
    connection.fd = fd;
    acceptor_->HandleNewConnection(&connection);
  }

  std::unique_ptr<Gate> gate_;
  Conversations conversations_;
  Fetches fetches_;
  Service service_;
  std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> acceptor_;
  std::unique_ptr<grpc::Server> server_;
};

Result<std::unique_ptr<NodeServer>> NodeServer::Start(const std::string& address,
                                                      const Certificate& certificate,
                                                      const NetLimits& limits, BlobSource* blobs,
                                                      Clock& clock) {
  WG_TRY(CheckLimits(limits));
  WG_TRY(CheckDescriptors(limits));
  QuietGrpc();
  WG_ASSIGN(auto gate, Gate::Listen(address, limits, clock));
  auto impl = std::make_unique<Impl>(std::move(gate), limits, blobs, clock);
  WG_TRY(impl->Start(certificate, limits));
  return std::unique_ptr<NodeServer>(new NodeServer(std::move(impl)));
}

NodeServer::NodeServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
NodeServer::~NodeServer() = default;

std::uint16_t NodeServer::port() const { return impl_->gate().port(); }
bool NodeServer::Next(Event& event, std::int64_t timeout_ms) {
  return impl_->conversations().Next(event, timeout_ms);
}
bool NodeServer::Send(ConnectionId connection, std::span<const std::uint8_t> frame) {
  return impl_->conversations().Send(connection, {&frame, 1});
}

bool NodeServer::Send(ConnectionId connection,
                      std::span<const std::span<const std::uint8_t>> frames) {
  return impl_->conversations().Send(connection, frames);
}
void NodeServer::Close(ConnectionId connection) { impl_->conversations().Close(connection); }
void NodeServer::Stop() { impl_->Stop(); }
NodeServer::Load NodeServer::load() const {
  return {.sockets = impl_->gate().sockets(),
          .fetches = impl_->fetches().active(),
          .queued_bytes = impl_->conversations().queued_bytes(),
          .partial_bytes = impl_->gate().partial_bytes()};
}

}  // namespace waggle
