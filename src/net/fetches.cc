#include "net/fetches.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace waggle {
namespace {

constexpr std::int64_t kNsPerMs = 1'000'000;

class Refusal final : public grpc::ServerWriteReactor<v1::Chunk> {
 public:
  explicit Refusal(const grpc::Status& status) { Finish(status); }
  void OnDone() override { delete this; }
};

grpc::Status Unreadable() { return {grpc::StatusCode::DATA_LOSS, "the blob cannot be read"}; }

}  // namespace

// Either waiting for its peer (a write is pending) or in the queue of the threads, never both: so
// one thread at a time touches it.
class FetchStream final : public grpc::ServerWriteReactor<v1::Chunk> {
 public:
  FetchStream(Fetches& fetches, grpc::CallbackServerContext* context, const Digest256& hash,
              std::uint64_t offset, std::shared_ptr<Socket> socket)
      : fetches_(fetches),
        context_(context),
        hash_(hash),
        socket_(std::move(socket)),
        offset_(offset),
        written_ns_(fetches.clock_.MonotonicNs()) {
    ++socket_->fetches;
    socket_->spoken = true;
  }

  void OnWriteDone(bool good) override {
    waiting_ = false;
    if (!good) return Finish(grpc::Status::CANCELLED);
    chunk_.clear_data();
    fetches_.Enqueue(this);
  }
  void OnDone() override {
    --socket_->fetches;
    fetches_.Forget(this);
    delete this;
  }
  void Cancel() { context_->TryCancel(); }

  // On a thread of Fetches.
  void Step() {
    if (context_->IsCancelled()) return Finish(grpc::Status::CANCELLED);
    if (!opened_) {
      const grpc::Status status = Open();
      if (!status.ok()) return Finish(status);
    }
    if (offset_ == blob_->size()) return Finish(grpc::Status::OK);
    const std::size_t wanted =
        static_cast<std::size_t>(std::min<std::uint64_t>(kChunkBytesMax, blob_->size() - offset_));
    std::string* data = chunk_.mutable_data();
    data->resize(wanted);
    if (!blob_->Read(offset_, std::as_writable_bytes(std::span(*data))))
      return Finish(Unreadable());
    chunk_.set_offset(offset_);
    offset_ += wanted;
    written_ns_ = fetches_.clock_.MonotonicNs();
    waiting_ = true;
    StartWrite(&chunk_);
  }

  bool Stalled(std::int64_t now_ns, std::int64_t idle_ms_max) const {
    return waiting_ && now_ns - written_ns_ > idle_ms_max * kNsPerMs;
  }

 private:
  grpc::Status Open() {
    auto blob = fetches_.blobs_->Open(hash_);
    if (!blob) return Unreadable();
    if (*blob == nullptr) return {grpc::StatusCode::NOT_FOUND, "no such blob"};
    blob_ = std::move(*blob);
    opened_ = true;
    if (offset_ > blob_->size())
      return {grpc::StatusCode::OUT_OF_RANGE, "the offset is behind the end"};
    return grpc::Status::OK;
  }

  Fetches& fetches_;
  grpc::CallbackServerContext* const context_;
  const Digest256 hash_;
  const std::shared_ptr<Socket> socket_;
  std::unique_ptr<Blob> blob_;
  bool opened_ = false;
  std::uint64_t offset_;
  v1::Chunk chunk_;
  // Read by the ticks while a write is pending.
  std::atomic<bool> waiting_{false};
  std::atomic<std::int64_t> written_ns_;
};

Fetches::Fetches(const NetLimits& limits, BlobSource* blobs, Clock& clock)
    : limits_(limits), blobs_(blobs), clock_(clock) {
  if (blobs_ == nullptr) return;
  for (std::size_t i = 0; i < limits_.fetch_threads; ++i) threads_.emplace_back([this] { Work(); });
}

Fetches::~Fetches() { Stop(); }

grpc::ServerWriteReactor<v1::Chunk>* Fetches::Start(grpc::CallbackServerContext* context,
                                                    const v1::FetchRequest* request,
                                                    std::shared_ptr<Socket> socket) {
  const auto refuse = [](grpc::StatusCode code, const char* why) {
    return new Refusal(grpc::Status(code, why));
  };
  Digest256 hash;
  if (request->hash().size() != hash.size())
    return refuse(grpc::StatusCode::INVALID_ARGUMENT, "a hash has 32 bytes");
  std::memcpy(hash.data(), request->hash().data(), hash.size());
  if (socket == nullptr) return refuse(grpc::StatusCode::UNAVAILABLE, "the connection is gone");
  if (blobs_ == nullptr) return refuse(grpc::StatusCode::NOT_FOUND, "no such blob");
  const std::scoped_lock lock(mutex_);
  if (stopping_) return refuse(grpc::StatusCode::UNAVAILABLE, "the server stops");
  if (streams_.size() >= limits_.fetches_max ||
      socket->fetches >= limits_.fetches_per_connection_max)
    return refuse(grpc::StatusCode::RESOURCE_EXHAUSTED, "too many fetches at once");
  auto* stream = new FetchStream(*this, context, hash, request->offset(), std::move(socket));
  streams_.insert(stream);
  queue_.push_back(stream);
  ready_.notify_one();
  return stream;
}

void Fetches::Enqueue(FetchStream* stream) {
  {
    const std::scoped_lock lock(mutex_);
    if (!stopping_) {
      queue_.push_back(stream);
      ready_.notify_one();
      return;
    }
  }
  stream->Finish(grpc::Status::CANCELLED);
}

void Fetches::Forget(FetchStream* stream) {
  const std::scoped_lock lock(mutex_);
  streams_.erase(stream);
}

void Fetches::Work() {
  for (;;) {
    FetchStream* stream = nullptr;
    {
      std::unique_lock lock(mutex_);
      ready_.wait(lock, [&] { return stopping_ || !queue_.empty(); });
      if (queue_.empty()) return;  // stopping, and nobody is left to answer
      stream = queue_.front();
      queue_.pop_front();
    }
    stream->Step();
  }
}

void Fetches::Tick() {
  const std::scoped_lock lock(mutex_);
  const std::int64_t now_ns = clock_.MonotonicNs();
  for (FetchStream* stream : streams_) {
    if (stream->Stalled(now_ns, limits_.idle_ms_max)) stream->Cancel();
  }
}

void Fetches::Stop() {
  {
    const std::scoped_lock lock(mutex_);
    stopping_ = true;
    for (FetchStream* stream : streams_) stream->Cancel();
  }
  ready_.notify_all();
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
}

std::size_t Fetches::active() const {
  const std::scoped_lock lock(mutex_);
  return streams_.size();
}

}  // namespace waggle
