#include "proofs/dispute/weights_dispute.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/check.h"
#include "policy/leb128.h"

namespace waggle {
namespace {

constexpr std::array<std::uint32_t, 64> kRound = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

constexpr std::size_t kProbes = 7;  // states per request: k = 8

HostTensor TensorOf(const TensorForm& form, std::span<const std::uint8_t> bits) {
  HostTensor tensor = HostTensor::Zero(TypeOf(form));
  void* to = tensor.type.element == Element::kBf16 ? static_cast<void*>(tensor.halves.data())
                                                   : static_cast<void*>(tensor.data.data());
  std::memcpy(to, bits.data(), bits.size());
  return tensor;
}

}  // namespace

Sha256State Sha256Compress(const Sha256State& state, std::span<const std::uint8_t, 64> block) {
  std::array<std::uint32_t, 64> w;
  for (std::size_t i = 0; i < 16; ++i)
    w[i] = std::uint32_t{block[4 * i]} << 24 | std::uint32_t{block[4 * i + 1]} << 16 |
           std::uint32_t{block[4 * i + 2]} << 8 | block[4 * i + 3];
  for (std::size_t i = 16; i < 64; ++i) {
    const std::uint32_t x = w[i - 15], y = w[i - 2];
    w[i] = w[i - 16] + (std::rotr(x, 7) ^ std::rotr(x, 18) ^ (x >> 3)) + w[i - 7] +
           (std::rotr(y, 17) ^ std::rotr(y, 19) ^ (y >> 10));
  }
  auto [a, b, c, d, e, f, g, h] = state;
  for (std::size_t i = 0; i < 64; ++i) {
    const std::uint32_t t1 = h + (std::rotr(e, 6) ^ std::rotr(e, 11) ^ std::rotr(e, 25)) +
                             ((e & f) ^ (~e & g)) + kRound[i] + w[i];
    const std::uint32_t t2 =
        (std::rotr(a, 2) ^ std::rotr(a, 13) ^ std::rotr(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
    h = g, g = f, f = e, e = d + t1, d = c, c = b, b = a, a = t1 + t2;
  }
  const Sha256State mixed = {a, b, c, d, e, f, g, h};
  Sha256State next;
  for (std::size_t i = 0; i < 8; ++i) next[i] = state[i] + mixed[i];
  return next;
}

Sha256State StateOf(const Digest256& digest) {
  Sha256State state;
  for (std::size_t i = 0; i < 8; ++i)
    state[i] = std::uint32_t{digest[4 * i]} << 24 | std::uint32_t{digest[4 * i + 1]} << 16 |
               std::uint32_t{digest[4 * i + 2]} << 8 | digest[4 * i + 3];
  return state;
}

TensorType TypeOf(const TensorForm& form) {
  Check(form.dtype != WireDtype::kF16, "policies are bf16 or f32");
  Check(form.shape.size() == 1 || form.shape.size() == 2, "tensors have one or two axes");
  return {form.dtype == WireDtype::kBf16 ? Element::kBf16 : Element::kF32, form.shape};
}

LeafMessage::LeafMessage(const std::string& name, const TensorForm& form) : bits_(form.bytes()) {
  header_.push_back(0);  // crypto/merkle.h: a leaf
  PutLeb128(header_, name.size());
  header_.insert(header_.end(), name.begin(), name.end());
  header_.push_back(static_cast<std::uint8_t>(form.dtype));
  header_.push_back(static_cast<std::uint8_t>(form.shape.size()));
  for (const std::uint64_t extent : form.shape) PutLeb128(header_, extent);
  blocks_ = (header_.size() + bits_ + 1 + 8 + 63) / 64;
}

std::array<std::uint8_t, 64> LeafMessage::Block(std::uint64_t i,
                                                std::span<const std::uint8_t> bits) const {
  std::array<std::uint8_t, 64> block{};
  const std::uint64_t size = header_.size() + bits_;
  for (std::uint64_t k = 0; k < 64; ++k) {
    const std::uint64_t at = i * 64 + k;
    if (at < header_.size())
      block[k] = header_[at];
    else if (at < size)
      block[k] = bits[at - header_.size()];
    else if (at == size)
      block[k] = 0x80;
    else if (i + 1 == blocks_ && k >= 56)
      block[k] = static_cast<std::uint8_t>((size * 8) >> (8 * (63 - k)));
  }
  return block;
}

WeightsReferee::WeightsReferee(const std::string& name, const TensorForm& form,
                               const Digest256& leaf, const std::array<Digest256, 2>& roots)
    : message_(name, form), type_(TypeOf(form)), leaf_(StateOf(leaf)), roots_(roots) {
  Check(roots[0] != roots[1], "a dispute follows a difference");
}

bool WeightsReferee::Blamed(bool a, bool b) {
  if (a || b) verdict_ = WeightsVerdict{a, b};
  return a || b;
}

void WeightsReferee::Take(const std::array<std::optional<WeightsReply>, 2>& replies) {
  Check(!verdict_, "a dispute that is over asks for nothing");
  if (Blamed(!replies[0], !replies[1])) return;
  const std::array<WeightsReply, 2> r = {*replies[0], *replies[1]};
  switch (request_.kind) {
    case WeightsRequest::Kind::kHead:
      return OnHead(r);
    case WeightsRequest::Kind::kChildren:
      return OnChildren(r);
    case WeightsRequest::Kind::kTile:
      return OnTile(r);
    case WeightsRequest::Kind::kStates:
      return OnStates(r);
    case WeightsRequest::Kind::kBlock:
      return OnBlock(r);
  }
}

void WeightsReferee::OnHead(const std::array<WeightsReply, 2>& r) {
  std::array<bool, 2> faults{};
  for (std::size_t p = 0; p < 2; ++p) {
    faults[p] = r[p].hashes.size() != 1 || TensorRoot(type_, r[p].hashes[0]) != roots_[p];
    if (!faults[p]) nodes_[p] = r[p].hashes[0];
  }
  if (Blamed(faults[0], faults[1])) return;
  level_ = TreeHeight(TilesOf(type_), kTileFanOut);
  Descend();
}

void WeightsReferee::Descend() {
  request_ = {level_ > 0 ? WeightsRequest::Kind::kChildren : WeightsRequest::Kind::kTile,
              level_,
              index_,
              {}};
}

void WeightsReferee::OnChildren(const std::array<WeightsReply, 2>& r) {
  const std::uint64_t first = index_ * kTileFanOut;
  const std::uint64_t count =
      std::min(first + kTileFanOut, TreeWidth(TilesOf(type_), kTileFanOut, level_ - 1)) - first;
  std::array<bool, 2> faults{};
  for (std::size_t p = 0; p < 2; ++p)
    faults[p] = r[p].hashes.size() != count || FoldTree(r[p].hashes, kTileFanOut) != nodes_[p];
  if (Blamed(faults[0], faults[1])) return;
  std::uint64_t i = 0;
  while (r[0].hashes[i] == r[1].hashes[i]) ++i;
  --level_;
  index_ = first + i;
  nodes_ = {r[0].hashes[i], r[1].hashes[i]};
  Descend();
}

void WeightsReferee::OnTile(const std::array<WeightsReply, 2>& r) {
  std::array<bool, 2> faults{};
  for (std::size_t p = 0; p < 2; ++p)
    faults[p] =
        r[p].bytes.size() != TileBytesOf(type_, index_) || TreeLeaf(r[p].bytes) != nodes_[p];
  if (Blamed(faults[0], faults[1])) return;
  std::uint64_t at = 0;
  while (r[0].bytes[at] == r[1].bytes[at]) ++at;
  claimed_ = {r[0].bytes[at], r[1].bytes[at]};
  const TileRect rect = RectOf(type_, index_);
  const std::uint64_t size = BytesOf(type_.element), line = rect.cols * size;
  byte_ = ((rect.row + at / line) * type_.cols() + rect.col) * size + at % line;
  const std::uint64_t block = message_.BlockOfByte(byte_);
  request_ = {WeightsRequest::Kind::kStates, 0, 0, {block, block + 1}};
}

void WeightsReferee::AskStates() {
  // low_ differs, high_ agrees; when they are neighbours the block between them decides.
  if (high_ - low_ == 1) {
    request_ = {WeightsRequest::Kind::kBlock, 0, low_, {}};
    return;
  }
  std::vector<std::uint64_t> indices;
  const std::uint64_t span = high_ - low_;
  for (std::uint64_t i = 1; i <= kProbes; ++i) {
    const std::uint64_t at = low_ + span * i / (kProbes + 1);
    if (at > low_ && at < high_ && (indices.empty() || indices.back() < at)) indices.push_back(at);
  }
  request_ = {WeightsRequest::Kind::kStates, 0, 0, std::move(indices)};
}

void WeightsReferee::OnStates(const std::array<WeightsReply, 2>& r) {
  std::array<bool, 2> faults{};
  const std::vector<std::uint64_t>& at = request_.indices;
  for (std::size_t p = 0; p < 2; ++p) {
    faults[p] = r[p].states.size() != at.size();
    // Both ends of the chain are known.
    for (std::size_t i = 0; i < at.size() && !faults[p]; ++i)
      faults[p] = (at[i] == 0 && r[p].states[i] != kSha256Start) ||
                  (at[i] == message_.blocks() && r[p].states[i] != leaf_);
  }
  if (Blamed(faults[0], faults[1])) return;
  if (!searching_) {
    searching_ = true;
    before_ = {r[0].states[0], r[1].states[0]};
    after_ = {r[0].states[1], r[1].states[1]};
    at_byte_ = before_[0] == before_[1] && after_[0] == after_[1];
    if (at_byte_) {
      request_ = {WeightsRequest::Kind::kBlock, 0, at[0], {}};
      return;
    }
    high_ = message_.blocks();
    high_state_ = {leaf_, leaf_};
    low_ = after_[0] != after_[1] ? at[1] : at[0];
    if (after_[0] != after_[1]) {
      before_ = after_;
    } else {
      high_ = at[1];
      high_state_ = after_;
    }
    return AskStates();
  }
  // The last that differs.
  for (std::size_t i = 0; i < at.size(); ++i) {
    const bool differ = r[0].states[i] != r[1].states[i];
    if (differ) {
      low_ = at[i];
      before_ = {r[0].states[i], r[1].states[i]};
    }
  }
  for (std::size_t i = at.size(); i-- > 0;) {
    if (at[i] <= low_) break;
    high_ = at[i];
    high_state_ = {r[0].states[i], r[1].states[i]};
  }
  AskStates();
}

void WeightsReferee::OnBlock(const std::array<WeightsReply, 2>& r) {
  std::array<bool, 2> faults{};
  for (std::size_t p = 0; p < 2; ++p) {
    faults[p] = r[p].bytes.size() != 64;
    if (faults[p]) continue;
    const std::span<const std::uint8_t, 64> block(r[p].bytes.data(), 64);
    const Sha256State& wanted = at_byte_ ? after_[p] : high_state_[p];
    faults[p] = Sha256Compress(before_[p], block) != wanted ||
                (at_byte_ && block[message_.PlaceInBlock(byte_)] != claimed_[p]);
  }
  Check(faults[0] || faults[1], "SHA-256 has no collision that we live to see");
  Blamed(faults[0], faults[1]);
}

WeightsReply AnswerWeights(const WeightsRequest& request, const std::string& name,
                           const TensorForm& form, std::span<const std::uint8_t> bits) {
  WeightsReply reply;
  const LeafMessage message(name, form);
  switch (request.kind) {
    case WeightsRequest::Kind::kHead:
      reply.hashes = {TileTree(TensorOf(form, bits)).root()};
      break;
    case WeightsRequest::Kind::kChildren: {
      const HashTree tree = TileTree(TensorOf(form, bits));
      const std::span<const Digest256> nodes = tree.Level(request.level - 1);
      const std::uint64_t first = request.index * kTileFanOut;
      for (std::uint64_t i = first; i < std::min<std::uint64_t>(first + kTileFanOut, nodes.size());
           ++i)
        reply.hashes.push_back(nodes[i]);
      break;
    }
    case WeightsRequest::Kind::kTile:
      reply.bytes = TileOf(TensorOf(form, bits), request.index);
      break;
    case WeightsRequest::Kind::kStates: {
      Sha256State state = kSha256Start;
      std::uint64_t at = 0;
      for (const std::uint64_t index : request.indices) {
        for (; at < index; ++at) state = Sha256Compress(state, message.Block(at, bits));
        reply.states.push_back(state);
      }
      break;
    }
    case WeightsRequest::Kind::kBlock: {
      const auto block = message.Block(request.index, bits);
      reply.bytes.assign(block.begin(), block.end());
      break;
    }
  }
  return reply;
}

}  // namespace waggle
