// Mirrors of every kind on loopback, for the tests of this folder and of those above it.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include "channel/blob_pages.h"
#include "http/server.h"

namespace waggle {

class TestMirror {
 public:
  using Twist = std::function<void(HttpResponse&)>;
  // Answers from `blobs`, then twists the answer.
  explicit TestMirror(BlobSource& blobs, Twist twist = nullptr)
      : server_(HttpServer::Start("127.0.0.1:0", HttpLimits{}, SystemClock(),
                                  [this, &blobs, twist](const HttpRequest& request) {
                                    ++requests;
                                    auto response = AnswerBlob(blobs, request);
                                    if (!response) {
                                      response.emplace();
                                      response->status = 404;
                                    }
                                    if (twist) twist(*response);
                                    return std::move(*response);
                                  })
                    .value()) {}
  std::string url() const { return "http://127.0.0.1:" + std::to_string(server_->port()); }
  void Stop() { server_->Stop(); }
  std::uint64_t bytes() const { return server_->counts().body_bytes; }

  std::atomic<int> requests = 0;

 private:
  std::unique_ptr<HttpServer> server_;
};

// A body as it should be up to a place; there it ends, as a line does that breaks.
class BrokenBody final : public HttpBody {
 public:
  BrokenBody(std::unique_ptr<HttpBody> body, std::uint64_t at) : body_(std::move(body)), at_(at) {}
  std::uint64_t size() const override { return body_->size(); }
  Status Read(std::uint64_t offset, std::span<std::byte> out) override {
    if (offset + out.size() > at_) return Fail(Blame::kMachine, "the line breaks");
    return body_->Read(offset, out);
  }

 private:
  const std::unique_ptr<HttpBody> body_;
  const std::uint64_t at_;
};

// One bit of the byte at a place is not what it should be.
class ForgedBody final : public HttpBody {
 public:
  ForgedBody(std::unique_ptr<HttpBody> body, std::uint64_t at) : body_(std::move(body)), at_(at) {}
  std::uint64_t size() const override { return body_->size(); }
  Status Read(std::uint64_t offset, std::span<std::byte> out) override {
    WG_TRY(body_->Read(offset, out));
    if (at_ >= offset && at_ < offset + out.size()) out[at_ - offset] ^= std::byte{4};
    return {};
  }

 private:
  const std::unique_ptr<HttpBody> body_;
  const std::uint64_t at_;
};

inline void Forge(HttpResponse& response) {
  if (!response.body) return;
  const std::uint64_t middle = response.body->size() / 2;
  response.body = std::make_unique<ForgedBody>(std::move(response.body), middle);
}

}  // namespace waggle
