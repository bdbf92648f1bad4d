#include "channel/blob_pages.h"

#include <algorithm>

#include "base/hex.h"

namespace waggle {
namespace {

constexpr std::string_view kPrefix = "/blob/";

class BlobBody final : public HttpBody {
 public:
  explicit BlobBody(std::unique_ptr<Blob> blob) : blob_(std::move(blob)) {}
  std::uint64_t size() const override { return blob_->size(); }
  Status Read(std::uint64_t offset, std::span<std::byte> out) override {
    return blob_->Read(offset, out);
  }

 private:
  const std::unique_ptr<Blob> blob_;
};

HttpResponse Say(int status, std::string text) {
  HttpResponse response;
  response.status = status;
  response.text = std::move(text);
  return response;
}

}  // namespace

std::optional<HttpResponse> AnswerBlob(BlobSource& blobs, const HttpRequest& request) {
  if (!request.path.starts_with(kPrefix)) return std::nullopt;
  if (request.method == HttpMethod::kPost) return Say(405, "only to be read\n");
  const auto name = FromHex(std::string_view(request.path).substr(kPrefix.size()));
  Digest256 hash;
  if (!name || name->size() != hash.size()) return Say(404, "no hash\n");
  std::ranges::copy(*name, hash.begin());
  auto blob = blobs.Open(hash);
  if (!blob) return Say(500, "cannot be read\n");
  if (*blob == nullptr) return Say(404, "not here\n");
  HttpResponse response;
  response.content_type = "application/octet-stream";
  // It is what its name says, for ever.
  response.headers.emplace_back("Cache-Control", "public, max-age=31536000, immutable");
  response.headers.emplace_back("ETag", '"' + ToHex(hash) + '"');
  response.body = std::make_unique<BlobBody>(std::move(*blob));
  return response;
}

}  // namespace waggle
