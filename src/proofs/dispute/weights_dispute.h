// Which of two tile roots belongs to a tensor of the policy. A policy's root has one SHA-256 leaf
// per tensor (policy/image.h), which cannot be opened tile by tile; but the hash is a chain of
// 64-byte blocks from a known start to the agreed leaf, and a chain can be bisected:
//
//   1. both name a tile in which they differ, and its bytes: that gives a byte, and the block in
//      which it stands;
//   2. both give the chain's state before and after that block. If the states agree, the blocks
//      decide: one compression, and the block must hold the byte that was claimed;
//   3. if they do not agree, the last state in which the two chains differ is searched for (they
//      meet again at the leaf): two blocks lead from two states to one, which for both to be true
//      would be a collision of SHA-256.
//
// A core without I/O, as referee.h, for one tensor whose leaf (and MerklePath to the policy root)
// is agreed on. The caller carries messages, keeps deadlines, and says who was silent.
#pragma once

#include <array>
#include <optional>

#include "policy/image.h"
#include "proofs/dispute/hash_tree.h"

namespace waggle {

using Sha256State = std::array<std::uint32_t, 8>;
inline constexpr Sha256State kSha256Start = {0x6A09E667u, 0xBB67AE85u, 0x3C6EF372u, 0xA54FF53Au,
                                             0x510E527Fu, 0x9B05688Cu, 0x1F83D9ABu, 0x5BE0CD19u};
// FIPS 180-4, one block, plain integers.
Sha256State Sha256Compress(const Sha256State& state, std::span<const std::uint8_t, 64> block);
Sha256State StateOf(const Digest256& digest);

// The message behind a tensor's leaf, padded, as blocks.
class LeafMessage {
 public:
  LeafMessage(const std::string& name, const TensorForm& form);
  std::uint64_t blocks() const { return blocks_; }
  std::uint64_t BlockOfByte(std::uint64_t byte) const { return (header_.size() + byte) / 64; }
  // Block i of the message with these bits.
  std::array<std::uint8_t, 64> Block(std::uint64_t i, std::span<const std::uint8_t> bits) const;
  // Where byte `byte` of the bits stands in its block.
  std::size_t PlaceInBlock(std::uint64_t byte) const { return (header_.size() + byte) % 64; }

 private:
  Bytes header_;
  std::uint64_t bits_ = 0, blocks_ = 0;
};

struct WeightsRequest {
  enum class Kind : std::uint8_t { kHead, kChildren, kTile, kStates, kBlock } kind = Kind::kHead;
  std::size_t level = 0;
  std::uint64_t index = 0;             // of a node, tile or block
  std::vector<std::uint64_t> indices;  // kStates: of states; state i is before block i
};
struct WeightsReply {
  std::vector<Digest256> hashes;  // kHead: tiles root; kChildren
  Bytes bytes;                    // kTile, kBlock
  std::vector<Sha256State> states;
};

struct WeightsVerdict {
  bool a_loses = false, b_loses = false;
};

class WeightsReferee {
 public:
  // roots: the two TensorRoots in question, which must differ; leaf: of the tensor in the policy.
  WeightsReferee(const std::string& name, const TensorForm& form, const Digest256& leaf,
                 const std::array<Digest256, 2>& roots);
  const WeightsRequest& request() const { return request_; }
  // Both answers to request(); none: silence, which loses.
  void Take(const std::array<std::optional<WeightsReply>, 2>& replies);
  const std::optional<WeightsVerdict>& verdict() const { return verdict_; }

 private:
  bool Blamed(bool a, bool b);
  void Descend();
  void OnHead(const std::array<WeightsReply, 2>& r);
  void OnChildren(const std::array<WeightsReply, 2>& r);
  void OnTile(const std::array<WeightsReply, 2>& r);
  void OnStates(const std::array<WeightsReply, 2>& r);
  void OnBlock(const std::array<WeightsReply, 2>& r);
  void AskStates();

  LeafMessage message_;
  TensorType type_;
  Sha256State leaf_;
  std::array<Digest256, 2> roots_, nodes_{};
  WeightsRequest request_;
  std::size_t level_ = 0;
  std::uint64_t index_ = 0;
  std::uint64_t byte_ = 0;                 // that differs
  std::array<std::uint8_t, 2> claimed_{};  // its two values
  bool at_byte_ = false;                   // the block in question is that of the byte
  // States differ at low_ and agree at high_.
  std::uint64_t low_ = 0, high_ = 0;
  std::array<Sha256State, 2> before_{};
  std::array<Sha256State, 2> after_{};
  std::array<Sha256State, 2> high_state_{};
  bool searching_ = false;
  std::optional<WeightsVerdict> verdict_;
};

// The honest answer from the bits.
WeightsReply AnswerWeights(const WeightsRequest& request, const std::string& name,
                           const TensorForm& form, std::span<const std::uint8_t> bits);

TensorType TypeOf(const TensorForm& form);

}  // namespace waggle
