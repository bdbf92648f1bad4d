// The referee of one dispute as a state machine without I/O (sheet gensyn.md 3.3): replies and the
// time go in, requests and at last a verdict come out. It holds no weights and runs no model: it
// compares hashes, checks proofs, and computes one tile.
//
// The way down: run -> unit (batch, training step) -> sequence -> token -> node (layer, operation)
// -> tile, each level by k-ary bisection of trees to which the parties are already bound. What is
// found there decides: a record that does not instantiate the template, an input that is not what
// it should be, or a tile that the referee computes itself.
//
// Who loses: whoever is shown to be wrong (both, if both are), whoever sends what does not fit the
// hashes it is bound to, and whoever is silent past a deadline. A party that answers every request
// from a true execution never loses. One caller at a time.
#pragma once

#include <memory>
#include <vector>

#include "proofs/dispute/protocol.h"
#include "proofs/dispute/step_ground.h"
#include "proofs/dispute/tile_code.h"

namespace waggle {

enum class DisputeCase : std::uint8_t {
  kNoDispute = 0,      // the claims are equal
  kNotComparable = 1,  // the client's own data or program is broken: nobody loses
  kSilent = 2,
  kInconsistent = 3,  // garbage, or hashes that do not fold to what was committed
  kProgram = 4,       // another ProgramHash
  kState = 5,         // StateRoot_in
  kData = 6,          // DataRoot
  kTemplate = 7,      // TemplateHash
  kResult = 8,        // the claimed result is not that of the party's own graph
  kPresence = 9,      // a token after the end of the response, or none before it
  kWiring = 10,       // operation, attributes or sources of a node
  kInput = 11,        // root of an input
  kOutput = 12,       // a tile
};
inline bool IsKnown(DisputeCase value) { return value <= DisputeCase::kOutput; }
const char* ToString(DisputeCase value);

struct DisputeVerdict {
  bool a_loses = false, b_loses = false;
  DisputeCase reason = DisputeCase::kNoDispute;
  std::uint64_t unit = 0;  // where; what was not reached is 0
  std::uint32_t sequence = 0, token = 0, node = 0;
  std::uint8_t slot = 0;
  std::uint64_t tile = 0;
  bool operator==(const DisputeVerdict&) const = default;
};
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, DisputeVerdict>
void Fields(T& x, V&& v) {
  v(1, "a_loses", x.a_loses);
  v(2, "b_loses", x.b_loses);
  v(3, "reason", x.reason);
  v(4, "unit", x.unit);
  v(5, "sequence", x.sequence);
  v(6, "token", x.token);
  v(7, "node", x.node);
  v(8, "slot", x.slot);
  v(9, "tile", x.tile);
}

// A reply, or silence noticed (empty body), and when.
struct DisputeEntry {
  std::int64_t at_ns = 0;
  Bytes body;
  Signature signature{};
};
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, DisputeEntry>
void Fields(T& x, V&& v) {
  v(1, "at_ns", x.at_ns);
  v.Numbers(2, "body", x.body, kDisputeLimits.reply_bytes_max);
  v(3, "signature", x.signature);
}

// Everything that a verdict follows from. Self-contained: terms, and every signed word.
struct DisputeEvidence {
  DisputeTerms terms;
  std::int64_t opened_ns = 0;
  std::vector<DisputeEntry> entries;
  DisputeVerdict verdict;
};
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, DisputeEvidence>
void Fields(T& x, V&& v) {
  v(1, "terms", x.terms);
  v(2, "opened_ns", x.opened_ns);
  v.Structs(3, "entries", x.entries, kDisputeLimits.replies_max);
  v(4, "verdict", x.verdict);
}
Bytes Encode(const DisputeEvidence& evidence);
Result<DisputeEvidence> DecodeDisputeEvidence(std::span<const std::uint8_t> bytes);
Digest256 EvidenceHash(const DisputeEvidence& evidence);

// Runs the dispute again from the evidence alone (ReplayDispute, below, gives what it found); the
// error (blame peer) says where it does not lead to its verdict. Signatures are checked by
// `signer`. That a party was silent rests on the referee's clock: entries say when it looked, and
// no signature can prove that nothing came.
Status CheckDisputeEvidence(const DisputeEvidence& evidence, const Signer& signer,
                            const DescriptionReader& reader = nullptr);

struct RefereeStats {
  std::uint32_t rounds = 0;
  std::uint64_t bytes_in = 0, bytes_out = 0;  // replies and signatures; requests
  std::uint64_t tile_work = 0;                // operations of the last tile
};

class Referee {
 public:
  // Borrows `signer`, which checks signatures. Errors (blame operator): terms that name no model
  // that disputes know, or that are past the limits. reader: for kReinforcement, without which
  // such terms are an error.
  static Result<Referee> Open(const DisputeTerms& terms, const Signer& signer, std::int64_t now_ns,
                              const DescriptionReader& reader = nullptr);
  Referee(Referee&&) noexcept;
  ~Referee();

  // What the parties have to answer now; empty once there is a verdict.
  const std::vector<DisputeRequest>& requests() const;
  // A reply. Refused (blame peer), with nothing changed: a bad signature, another dispute or round,
  // a second answer, bytes that are no reply. None of this costs the named party anything: anybody
  // can send it.
  Status Deliver(std::int64_t now_ns, const SignedReply& reply);
  void Tick(std::int64_t now_ns);

  const std::optional<DisputeVerdict>& verdict() const;
  DisputeEvidence evidence() const;  // REQUIRES a verdict
  const RefereeStats& stats() const;
  // Where the verdict was found, for people: "step 3, node 17: gemm, layer 2, sample 1, tile 5".
  std::string Place() const;
  // The tile that decided and what feeds it, where it came to that: see tile_export.h. Null else.
  struct DecidedTile {
    std::string what;  // "node 17: gemm, layer 2"
    TileProgram code;
    std::vector<std::uint32_t> memory;  // before the run
    std::vector<std::uint32_t> expected;
  };
  const DecidedTile* decided_tile() const;

  struct Impl;

 private:
  explicit Referee(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// As CheckDisputeEvidence, and the referee as it stood at the end.
Result<Referee> ReplayDispute(const DisputeEvidence& evidence, const Signer& signer,
                              const DescriptionReader& reader = nullptr);

}  // namespace waggle
