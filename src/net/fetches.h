// The server's side of Fetch: a bounded number of streams, fed by a few threads. (Internal to
// net/.)
#pragma once

#include <grpcpp/grpcpp.h>

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "net/gate.h"
#include "net/limits.h"
#include "net/server.h"
#include "node.grpc.pb.h"

namespace waggle {

class FetchStream;

// Thread-safe.
class Fetches {
 public:
  Fetches(const NetLimits& limits, BlobSource* blobs, Clock& clock);
  ~Fetches();  // REQUIRES Stop, and every stream done

  // The reactor of one call; answers at once with an error when it cannot be served.
  grpc::ServerWriteReactor<v1::Chunk>* Start(grpc::CallbackServerContext* context,
                                             const v1::FetchRequest* request,
                                             std::shared_ptr<Socket> socket);
  void Tick();  // cancels streams whose peer takes nothing
  void Stop();  // cancels all of them and joins the threads
  std::size_t active() const;

 private:
  friend class FetchStream;
  void Enqueue(FetchStream* stream);  // wants its next chunk
  void Forget(FetchStream* stream);
  void Work();

  const NetLimits limits_;
  BlobSource* const blobs_;
  Clock& clock_;
  mutable std::mutex mutex_;
  std::condition_variable ready_;
  bool stopping_ = false;
  std::deque<FetchStream*> queue_;
  std::set<FetchStream*> streams_;
  std::vector<std::thread> threads_;
};

}  // namespace waggle
