#include "net/fetch_client.h"

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>

#include "base/check.h"

namespace waggle {
namespace {

using Outcome = tl::expected<std::uint64_t, FetchError>;

// One chunk is read, handed to the caller's thread, and only then is the next one asked for: that
// is the flow control. Lives on the caller's stack until OnDone.
class Reader final : public grpc::ClientReadReactor<v1::Chunk> {
 public:
  Reader(v1::Node::Stub& stub, const v1::FetchRequest& request) {
    stub.async()->Fetch(&context_, &request, this);
    AddHold();  // reads are started from the caller's thread
    StartRead(&chunk_);
    StartCall();
  }
  ~Reader() override {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return status_.has_value(); });
  }

  enum class Got : std::uint8_t { kChunk, kEnd, kNothing };
  Got Wait(std::int64_t timeout_ms) {
    std::unique_lock lock(mutex_);
    const bool some = changed_.wait_for(lock, std::chrono::milliseconds(timeout_ms),
                                        [&] { return read_.has_value(); });
    return !some ? Got::kNothing : *read_ ? Got::kChunk : Got::kEnd;
  }
  const v1::Chunk& chunk() const { return chunk_; }
  void ReadNext() {
    {
      const std::scoped_lock lock(mutex_);
      read_.reset();
    }
    StartRead(&chunk_);
  }
  // Once; no read is started after it.
  grpc::Status Finish(bool cancel) {
    if (cancel) context_.TryCancel();
    RemoveHold();
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return status_.has_value(); });
    return *status_;
  }

  void OnReadDone(bool good) override {
    const std::scoped_lock lock(mutex_);
    read_ = good;
    changed_.notify_all();
  }
  void OnDone(const grpc::Status& status) override {
    const std::scoped_lock lock(mutex_);
    status_ = status;
    changed_.notify_all();
  }

 private:
  grpc::ClientContext context_;
  v1::Chunk chunk_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<bool> read_;  // of the read that was started last
  std::optional<grpc::Status> status_;
};

FetchFailure ToFailure(const grpc::Status& status, bool wrong_pin) {
  if (wrong_pin) return FetchFailure::kWrongPin;
  switch (status.error_code()) {
    case grpc::StatusCode::NOT_FOUND:
      return FetchFailure::kUnknown;
    case grpc::StatusCode::OUT_OF_RANGE:
      return FetchFailure::kOffset;
    case grpc::StatusCode::RESOURCE_EXHAUSTED:
      return FetchFailure::kBusy;
    case grpc::StatusCode::DATA_LOSS:
      return FetchFailure::kSourceFailed;
    case grpc::StatusCode::INVALID_ARGUMENT:
    case grpc::StatusCode::UNIMPLEMENTED:
      return FetchFailure::kMalformed;
    default:
      return FetchFailure::kLost;
  }
}

Blame BlameOf(FetchFailure failure) {
  switch (failure) {
    case FetchFailure::kLimit:
    case FetchFailure::kMalformed:
      return Blame::kPeer;
    case FetchFailure::kWrongPin:
      return Blame::kOperator;
    default:
      return Blame::kMachine;
  }
}

tl::unexpected<FetchError> Failed(FetchFailure failure, std::string what, std::uint64_t at) {
  return tl::unexpected(
      FetchError{.failure = failure,
                 .error = {BlameOf(failure), fmt::format("fetch at {}: {}", at, what)},
                 .next_offset = at});
}

}  // namespace

std::string_view ToString(FetchFailure failure) {
  switch (failure) {
    case FetchFailure::kUnknown:
      return "no such blob";
    case FetchFailure::kOffset:
      return "the offset is behind the end";
    case FetchFailure::kBusy:
      return "too many fetches at once";
    case FetchFailure::kSourceFailed:
      return "the blob cannot be read";
    case FetchFailure::kLimit:
      return "more than the limit";
    case FetchFailure::kMalformed:
      return "malformed chunks";
    case FetchFailure::kStalled:
      return "nothing for too long";
    case FetchFailure::kLost:
      return "connection lost";
    case FetchFailure::kWrongPin:
      return "the certificate is not the pinned one";
    case FetchFailure::kSink:
      return "stopped by the receiver";
  }
  return "?";
}

Outcome FetchFrom(v1::Node::Stub& stub, const Digest256& hash, std::uint64_t offset,
                  std::uint64_t bytes_max, std::int64_t idle_ms_max,
                  const std::atomic<bool>& wrong_pin, const NodeClient::Sink& sink) {
  Check(offset <= bytes_max, "a fetch starts within its limit");
  v1::FetchRequest request;
  request.set_hash(hash.data(), hash.size());
  request.set_offset(offset);
  Reader reader(stub, request);
  std::uint64_t at = offset;
  const auto stop = [&](FetchFailure failure, std::string what) {
    reader.Finish(/*cancel=*/true);
    return Failed(failure, std::move(what), at);
  };
  for (;;) {
    const Reader::Got got = reader.Wait(idle_ms_max);
    if (got == Reader::Got::kNothing)
      return stop(FetchFailure::kStalled, fmt::format("nothing for {} ms", idle_ms_max));
    if (got == Reader::Got::kEnd) break;
    const std::string& data = reader.chunk().data();
    if (reader.chunk().offset() != at || data.empty() || data.size() > kChunkBytesMax) {
      return stop(FetchFailure::kMalformed,
                  fmt::format("a chunk of {} bytes at {}", data.size(), reader.chunk().offset()));
    }
    if (data.size() > bytes_max - at)
      return stop(FetchFailure::kLimit, fmt::format("more than {} bytes", bytes_max));
    if (const Status taken = sink(at, std::as_bytes(std::span(data))); !taken) {
      reader.Finish(/*cancel=*/true);
      return tl::unexpected(FetchError{FetchFailure::kSink, taken.error(), at});
    }
    at += data.size();
    reader.ReadNext();
  }
  const grpc::Status status = reader.Finish(/*cancel=*/false);
  if (status.ok()) return at;
  const FetchFailure failure = ToFailure(status, wrong_pin);
  return Failed(failure, fmt::format("{} ({})", ToString(failure), status.error_message()), at);
}

}  // namespace waggle
