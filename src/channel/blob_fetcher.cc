#include "channel/blob_fetcher.h"

#include <chrono>
#include <set>
#include <thread>

#include "base/hex.h"
#include "crypto/hash.h"
#include "http/client.h"

namespace waggle {
namespace {

// Attempts at the host; each goes on where the last one stopped.
constexpr int kHostAttempts = 5;
constexpr std::size_t kHost = SIZE_MAX;  // as a giver, beside the mirrors' numbers

}  // namespace

struct BlobFetcher::Job {
  const Digest256& hash;
  const std::uint64_t bytes_max;
  Bytes bytes;
  std::set<std::size_t> givers;  // of `bytes`
  bool alone = false;            // givers are not mixed any more: bytes of several were wrong

  void Clear() {
    bytes.clear();
    givers.clear();
  }
  void From(std::size_t giver) {
    if (alone && !givers.contains(giver)) Clear();
  }
  Status Take(std::size_t giver, std::span<const std::byte> data) {
    if (data.size() > bytes_max - bytes.size())
      return Fail(Blame::kPeer, "more than {} bytes", bytes_max);
    givers.insert(giver);
    const auto* begin = reinterpret_cast<const std::uint8_t*>(data.data());
    bytes.insert(bytes.end(), begin, begin + data.size());
    return {};
  }
};

Result<Bytes> BlobFetcher::Fetch(NodeClient* host, const Digest256& hash, std::uint64_t bytes_max) {
  Job job{.hash = hash, .bytes_max = bytes_max};
  if (FromMirrors(job)) return std::move(job.bytes);
  if (host == nullptr)
    return Fail(Blame::kMachine, "no mirror has {}, and there is no host to ask", ToHex(hash));
  return FromHost(job, *host);
}

// Until the blob is there, or no mirror is fit to be asked. Each mirror's time is bounded, and a
// mirror that wastes it rests longer each time: so is the sum. Where the way to one that is behind
// takes longer than its rest, another one is always fit: they too are only asked for so long.
bool BlobFetcher::FromMirrors(Job& job) {
  const std::int64_t begin = NowMs();
  for (;;) {
    if (NowMs() - begin > limits_.behind_ms_max) book_.StillBehind(NowMs());
    if (const auto mirror = book_.Pick(NowMs())) {
      if (Ask(job, *mirror)) return true;
      continue;
    }
    const auto wait = book_.BehindFor(NowMs());
    if (!wait) return false;
    if (NowMs() - begin + *wait > limits_.behind_ms_max) {
      book_.StillBehind(NowMs());
      return false;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(*wait));
  }
}

bool BlobFetcher::Ask(Job& job, std::size_t mirror) {
  job.From(mirror);
  const std::size_t before = job.bytes.size();
  const std::int64_t begin = NowMs();
  const HttpClientLimits limits{.body_bytes_max = job.bytes_max + 1,
                                .connect_ms_max = limits_.connect_ms_max,
                                .header_ms_max = limits_.silence_ms_max,
                                .stall_ms_max = limits_.silence_ms_max};
  bool too_long = false;
  const auto sink = [&](std::uint64_t, std::span<const std::byte> data) -> Status {
    const Status taken = job.Take(mirror, data);
    if (!taken) {
      too_long = true;
      return taken;
    }
    const auto ms = static_cast<std::uint64_t>(NowMs() - begin);
    const std::uint64_t came = job.bytes.size() - before;
    if (ms > static_cast<std::uint64_t>(limits_.grace_ms) &&
        came * 1000 < ms * limits_.bytes_per_second_min)
      return Fail(Blame::kMachine, "too slow");
    return {};
  };
  std::optional<HttpRange> range;
  if (before > 0) range = HttpRange{before, std::nullopt};
  const auto reply = HttpGet(book_.url(mirror) + "/blob/" + ToHex(job.hash), limits, range, sink);
  totals_.mirror_bytes += job.bytes.size() - before;
  const bool not_yet = reply && (reply->status == 404 || reply->status == 503);
  if (not_yet) {
    book_.Behind(mirror, NowMs());
    return false;
  }
  // All of it came before, from a giver that broke off at the very end.
  const bool past_end = reply && reply->status == 416 && before > 0;
  if (too_long || past_end || (reply && reply->status / 100 == 2)) {
    job.givers.insert(mirror);  // even of nothing: it said that this is all
    if (Judge(job)) {
      book_.Served(mirror, job.bytes.size() - before, NowMs() - begin);
      return true;
    }
    return false;
  }
  ++totals_.failures;
  book_.Failed(mirror, NowMs());
  return false;
}

// Whether the bytes are the blob. If not, they are dropped: if one giver gave them all, it lied; if
// several did, nobody knows who, and from here on each gives all or nothing.
bool BlobFetcher::Judge(Job& job) {
  if (Sha256(job.bytes) == job.hash) return true;
  if (job.givers.size() == 1 && !job.givers.contains(kHost)) {
    ++totals_.lies;
    book_.Lied(*job.givers.begin());
  } else {
    job.alone = true;
  }
  job.Clear();
  return false;
}

Result<Bytes> BlobFetcher::FromHost(Job& job, NodeClient& host) {
  const auto sink = [&](std::uint64_t, std::span<const std::byte> data) -> Status {
    totals_.host_bytes += data.size();
    return job.Take(kHost, data);
  };
  for (int attempt = 1;; ++attempt) {
    job.From(kHost);
    const auto fetched = host.FetchBlob(job.hash, job.bytes.size(), job.bytes_max, sink);
    if (fetched) {
      job.givers.insert(kHost);
      if (Sha256(job.bytes) == job.hash) return std::move(job.bytes);
      const bool mixed = job.givers.size() > 1;
      const std::size_t size = job.bytes.size();
      Judge(job);
      if (mixed) continue;
      return Fail(Blame::kPeer, "a blob of {} bytes is not the one that was announced", size);
    }
    const FetchFailure failure = fetched.error().failure;
    if (failure == FetchFailure::kOffset && job.givers.size() > 0) {  // a mirror gave too much
      job.Clear();
      job.alone = true;
      continue;
    }
    const bool again = failure == FetchFailure::kBusy || failure == FetchFailure::kStalled ||
                       failure == FetchFailure::kSourceFailed;
    if (!again || attempt >= kHostAttempts) return Forward(fetched.error().error);
  }
}

}  // namespace waggle
