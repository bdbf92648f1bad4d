#include "proofs/dispute/protocol.h"

#include <algorithm>
#include <cstring>

namespace waggle {
namespace {

// Flat layouts: what a hash in the sheet is written over.
class FlatWriter {
 public:
  explicit FlatWriter(std::string_view tag) { bytes_.assign(tag.begin(), tag.end()); }
  template <class T>
  FlatWriter& Put(T value) {
    for (std::size_t i = 0; i < sizeof(T); ++i)
      bytes_.push_back(static_cast<std::uint8_t>(value >> (8 * i)));
    return *this;
  }
  FlatWriter& Put(const Digest256& digest) {
    bytes_.insert(bytes_.end(), digest.begin(), digest.end());
    return *this;
  }
  FlatWriter& Put(const std::string& text) {
    Put(static_cast<std::uint16_t>(text.size()));
    bytes_.insert(bytes_.end(), text.begin(), text.end());
    return *this;
  }
  Bytes Take() { return std::move(bytes_); }

 private:
  Bytes bytes_;
};

class FlatReader {
 public:
  FlatReader(std::span<const std::uint8_t> bytes, std::string_view tag) : bytes_(bytes) {
    ok_ = bytes.size() >= tag.size() && std::equal(tag.begin(), tag.end(), bytes.begin());
    at_ = tag.size();
  }
  template <class T>
  FlatReader& Get(T& value) {
    if (!Has(sizeof(T))) return *this;
    std::make_unsigned_t<T> bits = 0;
    for (std::size_t i = 0; i < sizeof(T); ++i)
      bits = static_cast<std::make_unsigned_t<T>>(
          bits | static_cast<std::make_unsigned_t<T>>(
                     static_cast<std::make_unsigned_t<T>>(bytes_[at_ + i]) << (8 * i)));
    value = static_cast<T>(bits);
    at_ += sizeof(T);
    return *this;
  }
  FlatReader& Get(Digest256& digest) {
    if (!Has(digest.size())) return *this;
    std::memcpy(digest.data(), bytes_.data() + at_, digest.size());
    at_ += digest.size();
    return *this;
  }
  FlatReader& Get(std::string& text) {
    std::uint16_t size = 0;
    Get(size);
    if (!Has(size)) return *this;
    text.assign(bytes_.begin() + static_cast<std::ptrdiff_t>(at_),
                bytes_.begin() + static_cast<std::ptrdiff_t>(at_ + size));
    at_ += size;
    return *this;
  }
  bool Whole() const { return ok_ && at_ == bytes_.size(); }

 private:
  bool Has(std::size_t n) {
    ok_ = ok_ && bytes_.size() - at_ >= n;
    return ok_;
  }
  std::span<const std::uint8_t> bytes_;
  std::size_t at_ = 0;
  bool ok_ = true;
};

template <class Record, class Read>
std::optional<Record> IfWhole(std::span<const std::uint8_t> bytes, std::string_view tag,
                              const Read& read) {
  FlatReader reader(bytes, tag);
  Record record;
  read(reader, record);
  return reader.Whole() ? std::optional<Record>(std::move(record)) : std::nullopt;
}

constexpr std::size_t kTermsBytesMax = 1 << 17;
constexpr std::size_t kRequestBytesMax = 1024;

}  // namespace

Digest256 ProgramHash(const RunProgram& program) {
  const Bytes bytes = WireEncode(program, kTermsBytesMax);
  FlatWriter tagged("r1");
  Bytes all = tagged.Take();
  all.insert(all.end(), bytes.begin(), bytes.end());
  return Sha256(all);
}
Status CheckRules(const DisputeRules& rules) {
  constexpr std::int64_t kYear = 365 * std::int64_t{86'400'000'000'000};
  if (rules.hash_ns <= 0 || rules.hash_ns > kYear || rules.work_ns <= 0 || rules.work_ns > kYear ||
      rules.extensions > 16 || rules.steps == 0 || rules.steps > 5)
    return Fail(Blame::kOperator, "terms: rules past the limits");
  return {};
}
Digest256 DisputeId(const DisputeTerms& terms) { return Sha256(WireEncode(terms, kTermsBytesMax)); }

Bytes Encode(const RunCommit& r) { return FlatWriter("").Put(r.units).Put(r.program).Take(); }
Bytes Encode(const BatchRecord& r) { return FlatWriter("b1").Put(r.batch).Put(r.sequences).Take(); }
Bytes Encode(const SequenceRecord& r) {
  return FlatWriter("q1").Put(r.sequence).Put(r.tokens).Take();
}
Bytes Encode(const TokenRecord& r) {
  return FlatWriter("k1").Put(r.index).Put(static_cast<std::uint32_t>(r.token)).Put(r.logp).Take();
}
Bytes Encode(const StepRecord& r) {
  return FlatWriter("s1")
      .Put(r.step)
      .Put(r.state_in)
      .Put(r.data)
      .Put(r.program)
      .Put(r.nodes)
      .Put(r.state_out)
      .Take();
}
Bytes Encode(const StateRecord& r) {
  return FlatWriter("p1").Put(r.name).Put(r.w).Put(r.m).Put(r.v).Put(r.step).Take();
}

std::optional<RunCommit> DecodeRunCommit(std::span<const std::uint8_t> bytes) {
  return IfWhole<RunCommit>(bytes, "",
                            [](FlatReader& in, RunCommit& r) { in.Get(r.units).Get(r.program); });
}
std::optional<BatchRecord> DecodeBatchRecord(std::span<const std::uint8_t> bytes) {
  return IfWhole<BatchRecord>(
      bytes, "b1", [](FlatReader& in, BatchRecord& r) { in.Get(r.batch).Get(r.sequences); });
}
std::optional<SequenceRecord> DecodeSequenceRecord(std::span<const std::uint8_t> bytes) {
  return IfWhole<SequenceRecord>(
      bytes, "q1", [](FlatReader& in, SequenceRecord& r) { in.Get(r.sequence).Get(r.tokens); });
}
std::optional<TokenRecord> DecodeTokenRecord(std::span<const std::uint8_t> bytes) {
  return IfWhole<TokenRecord>(bytes, "k1", [](FlatReader& in, TokenRecord& r) {
    in.Get(r.index).Get(r.token).Get(r.logp);
  });
}
std::optional<StepRecord> DecodeStepRecord(std::span<const std::uint8_t> bytes) {
  return IfWhole<StepRecord>(bytes, "s1", [](FlatReader& in, StepRecord& r) {
    in.Get(r.step).Get(r.state_in).Get(r.data).Get(r.program).Get(r.nodes).Get(r.state_out);
  });
}
std::optional<StateRecord> DecodeStateRecord(std::span<const std::uint8_t> bytes) {
  return IfWhole<StateRecord>(bytes, "p1", [](FlatReader& in, StateRecord& r) {
    in.Get(r.name).Get(r.w).Get(r.m).Get(r.v).Get(r.step);
  });
}

Digest256 StateRoot(std::span<const StateRecord> records) {
  std::vector<Digest256> leaves;
  for (const StateRecord& record : records) leaves.push_back(RecordLeaf(record));
  return FoldTree(std::move(leaves), 2);
}

Digest256 ResultRoot(const Digest256& token, const Digest256& logp) {
  return Sha256(FlatWriter("o1").Put(token).Put(logp).Take());
}
Digest256 ResultRoot(const TokenRecord& record) {
  HostTensor token = HostTensor::Zero({Element::kI32, {1}}),
             logp = HostTensor::Zero({Element::kF32, {1}});
  token.SetCell(0, static_cast<std::uint32_t>(record.token));
  logp.SetCell(0, record.logp);
  return ResultRoot(TensorRoot(token), TensorRoot(logp));
}

Digest256 DataRoot(std::span<const Digest256> roots) {
  std::vector<Digest256> leaves;
  for (const Digest256& root : roots) leaves.push_back(TreeLeaf(root));
  return FoldTree(std::move(leaves), 2);
}

const char* ToString(RequestKind kind) {
  constexpr std::array<const char*, 12> kNames = {"open",  "children", "record", "ground",
                                                  "graph", "input",    "head",   "data",
                                                  "tiles", "result",   "batch",  "description"};
  return kNames[static_cast<std::uint8_t>(kind)];
}

SignedReply Sign(const Signer& signer, const DisputeReply& reply) {
  SignedReply out{WireEncode(reply, kDisputeLimits.reply_bytes_max), {}};
  out.signature = signer.Sign(kDisputeDomain, out.body);
  return out;
}

Result<DisputeReply> DecodeReply(std::span<const std::uint8_t> body) {
  auto reply = WireDecode<DisputeReply>(body, kDisputeLimits.reply_bytes_max);
  if (!reply) return Fail(Blame::kPeer, "dispute reply: {}", reply.error().what);
  return std::move(*reply);
}

Bytes Encode(const DisputeRequest& request) { return WireEncode(request, kRequestBytesMax); }
Result<DisputeRequest> DecodeRefereeRequest(std::span<const std::uint8_t> bytes) {
  auto request = WireDecode<DisputeRequest>(bytes, kRequestBytesMax);
  if (!request) return Fail(Blame::kPeer, "dispute request: {}", request.error().what);
  return *request;
}

bool NeedsWork(const DisputeRequest& request) {
  switch (request.kind) {
    case RequestKind::kChildren:
      return request.tree == DisputeTree::kNodes || request.tree == DisputeTree::kTiles ||
             request.tree == DisputeTree::kState;
    case RequestKind::kGraph:
    case RequestKind::kInput:
    case RequestKind::kHead:
    case RequestKind::kTiles:
      return true;
    case RequestKind::kOpen:
    case RequestKind::kRecord:
    case RequestKind::kGround:
    case RequestKind::kData:
    case RequestKind::kResult:
    case RequestKind::kBatch:
    case RequestKind::kDescription:
      return false;
  }
  return false;
}

Bytes PutDigests(std::span<const Digest256> digests) {
  Bytes bytes;
  bytes.reserve(digests.size() * 32);
  for (const Digest256& digest : digests) bytes.insert(bytes.end(), digest.begin(), digest.end());
  return bytes;
}
std::optional<std::vector<Digest256>> GetDigests(std::span<const std::uint8_t> bytes) {
  if (bytes.size() % 32 != 0) return std::nullopt;
  std::vector<Digest256> digests(bytes.size() / 32);
  for (std::size_t i = 0; i < digests.size(); ++i)
    std::memcpy(digests[i].data(), bytes.data() + i * 32, 32);
  return digests;
}

}  // namespace waggle
