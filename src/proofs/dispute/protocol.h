// What two parties and a referee say to one another (sheet gensyn.md 3.3; docs/disputes.md): terms
// that all three agree on, requests of the referee, replies of the parties. Every reply is signed,
// names the dispute and the request that it answers, and has one encoding (base/wire.h). All of it
// is hostile until checked: limits below, refusal with Blame::kPeer.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/wire.h"
#include "crypto/identity.h"
#include "proofs/dispute/hash_tree.h"
#include "proofs/dispute/program.h"

namespace waggle {

inline constexpr std::string_view kDisputeDomain = "WGL-DISPUTE-1";

struct DisputeLimits {
  std::size_t config_bytes_max = 64 << 10;
  std::size_t reply_bytes_max = 4 << 20;
  std::size_t evidence_bytes_max = 16 << 20;
  std::size_t party_bytes_max = 7 << 20;  // of one party's replies: both fit the evidence
  std::size_t replies_max = 4096;
  std::uint64_t units_max = std::uint64_t{1} << 40;
  std::uint32_t group_max = 1u << 20, tokens_max = 1u << 17;
  std::uint64_t data_cells_max = std::uint64_t{1} << 17;  // of one data tensor
  std::uint64_t tile_bytes_max = 3 << 20;  // that feed one tile; what needs more is not decided
  std::uint64_t rope_cells_max = std::uint64_t{1} << 24;  // positions * head_dim of one program
  std::uint64_t sample_layers_max = 1 << 13;              // of one training step
  std::uint32_t samples_max = 4096;         // of one training step; responses of a batch of a run
  std::uint64_t batch_words_max = 700'000;  // of one batch's responses, as PutResponses writes them
};
inline constexpr DisputeLimits kDisputeLimits{};

// kReinforcement: batches and steps by turns. Unit 2k is what the policy of state k answers, unit
// 2k + 1 the step on it, from state k to state k + 1.
enum class DisputeKind : std::uint8_t { kRollout = 1, kTraining = 2, kReinforcement = 3 };
inline bool IsKnown(DisputeKind kind) {
  return kind >= DisputeKind::kRollout && kind <= DisputeKind::kReinforcement;
}

// kReinforcement: whose recipe says how answers are graded and what credit follows.
struct DescribedRun {
  Digest256 id{};           // of the run
  Digest256 description{};  // SHA-256 of what describes it (run/run_description.h)
  bool operator==(const DescribedRun&) const = default;
};
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, DescribedRun>
void Fields(T& x, V&& v) {
  v(1, "id", x.id);
  v(2, "description", x.description);
}

// How a run is computed, as far as it changes bits: what ProgramHash stands for. A run is a list of
// units: batches of rollouts, or training steps.
struct RunProgram {
  DisputeKind kind = DisputeKind::kRollout;
  std::string config;                // text of a config.json
  std::uint8_t weights = 0, kv = 0;  // NumericsConfig
  std::uint32_t kshards = 1;
  Digest256 state{};  // StateRoot that the run starts from (kRollout: the policy's, for all units)
  std::uint64_t units = 0;
  std::uint32_t group = 1, tokens_max = 1;  // kRollout: sequences of a batch, tokens of a response
  Digest256 data{};   // the client's: tree over SequenceSpec (unit * group + sequence), or StepSpec
  bool clip = false;  // kTraining: whether gradients are clipped, at
  std::uint32_t clip_low = 0, clip_high = 0;       // this binary64
  std::uint32_t beta1 = 0, beta2 = 0, eps = 0;     // fp32 bits
  std::optional<DescribedRun> run = std::nullopt;  // kReinforcement
  bool operator==(const RunProgram&) const = default;
};
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, RunProgram>
void Fields(T& x, V&& v) {
  v(1, "kind", x.kind);
  v.Text(2, "config", x.config, kDisputeLimits.config_bytes_max);
  v(3, "weights", x.weights);
  v(4, "kv", x.kv);
  v(5, "kshards", x.kshards);
  v(6, "state", x.state);
  v(7, "units", x.units);
  v(8, "group", x.group);
  v(9, "tokens_max", x.tokens_max);
  v(10, "data", x.data);
  v(11, "clip", x.clip);
  v(12, "clip_low", x.clip_low);
  v(13, "clip_high", x.clip_high);
  v(14, "beta1", x.beta1);
  v(15, "beta2", x.beta2);
  v(16, "eps", x.eps);
  v.IfAny(17, "run", x.run);
}
// Which units are batches, how many there are, and which of them a unit is (kReinforcement: of a
// step, the batch that it is taken on).
inline bool IsBatch(const RunProgram& program, std::uint64_t unit) {
  return program.kind == DisputeKind::kRollout ||
         (program.kind == DisputeKind::kReinforcement && unit % 2 == 0);
}
inline std::uint64_t BatchesIn(const RunProgram& program) {
  return program.kind == DisputeKind::kReinforcement ? program.units / 2 : program.units;
}
inline std::uint64_t BatchOf(const RunProgram& program, std::uint64_t unit) {
  return program.kind == DisputeKind::kReinforcement ? unit / 2 : unit;
}
Digest256 ProgramHash(const RunProgram& program);

// How long a party may take, and how wide the bisection is. Part of the terms, so that evidence is
// judged by the rules that it was made under.
struct DisputeRules {
  std::int64_t hash_ns = 60'000'000'000;   // to answer what is known
  std::int64_t work_ns = 600'000'000'000;  // to answer what must be computed again
  std::uint8_t extensions = 3;             // per party, each once more the time of its request
  std::uint8_t steps = 3;                  // levels per request of a binary tree: k = 8
  bool operator==(const DisputeRules&) const = default;
};
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, DisputeRules>
void Fields(T& x, V&& v) {
  v(1, "hash_ns", x.hash_ns);
  v(2, "work_ns", x.work_ns);
  v(3, "extensions", x.extensions);
  v(4, "steps", x.steps);
}

// Blame::kOperator: times or numbers that no dispute is held under.
Status CheckRules(const DisputeRules& rules);

struct DisputeTerms {
  RunProgram program;
  NodeId a, b;        // a: whose work is in question, b: who says otherwise
  Digest256 nonce{};  // one dispute among many between the same two
  DisputeRules rules;
  bool operator==(const DisputeTerms&) const = default;
};
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, DisputeTerms>
void Fields(T& x, V&& v) {
  v(1, "program", x.program);
  v(2, "a", x.a);
  v(3, "b", x.b);
  v(4, "nonce", x.nonce);
  v(5, "rules", x.rules);
}
Digest256 DisputeId(const DisputeTerms& terms);

// --- What a tree's leaves stand for. Flat layouts, little endian. ---

struct RunCommit {  // "RunCommit" of the sheet
  Digest256 units{}, program{};
};
struct BatchRecord {  // "b1" | batch u64 | root over sequences
  std::uint64_t batch = 0;
  Digest256 sequences{};
};
struct SequenceRecord {  // "q1" | sequence u32 | root over tokens_max token records
  std::uint32_t sequence = 0;
  Digest256 tokens{};
};
struct TokenRecord {  // "k1" | index u32 | token i32 | log-prob bits u32; after the end: -1, 0
  std::uint32_t index = 0;
  TokenId token = -1;
  std::uint32_t logp = 0;
  bool operator==(const TokenRecord&) const = default;
};
struct StepRecord {        // "s1" | step u64 | StateRoot_in | DataRoot | TemplateHash | nodes |
                           // StateRoot_out
  std::uint64_t step = 0;  // kRollout: position of the token; StateRoot_out: ResultRoot
  Digest256 state_in{}, data{}, program{}, nodes{}, state_out{};
};
struct StateRecord {  // "p1" | name u16 length | name | TensorRoot(w) | (m) | (v) | step u64
  std::string name;
  Digest256 w{}, m{}, v{};  // kRollout: m and v are zero
  std::uint64_t step = 0;
};
Bytes Encode(const RunCommit& record);
Bytes Encode(const BatchRecord& record);
Bytes Encode(const SequenceRecord& record);
Bytes Encode(const TokenRecord& record);
Bytes Encode(const StepRecord& record);
Bytes Encode(const StateRecord& record);
std::optional<RunCommit> DecodeRunCommit(std::span<const std::uint8_t> bytes);
std::optional<BatchRecord> DecodeBatchRecord(std::span<const std::uint8_t> bytes);
std::optional<SequenceRecord> DecodeSequenceRecord(std::span<const std::uint8_t> bytes);
std::optional<TokenRecord> DecodeTokenRecord(std::span<const std::uint8_t> bytes);
std::optional<StepRecord> DecodeStepRecord(std::span<const std::uint8_t> bytes);
std::optional<StateRecord> DecodeStateRecord(std::span<const std::uint8_t> bytes);

// A record is a leaf by its hash, but for node records, which are leaves as they are.
template <class Record>
Digest256 RecordLeaf(const Record& record) {
  return TreeLeaf(Sha256(Encode(record)));
}
template <class Record>
HashTree RecordTree(const std::vector<Record>& records) {
  std::vector<Digest256> leaves;
  for (const Record& record : records) leaves.push_back(RecordLeaf(record));
  return HashTree(std::move(leaves), 2);
}
// Root over the states of all tensors in name order.
Digest256 StateRoot(std::span<const StateRecord> records);
// kRollout: H("o1" | TensorRoot of the token | TensorRoot of the log-prob).
Digest256 ResultRoot(const TokenRecord& token);
Digest256 ResultRoot(const Digest256& token, const Digest256& logp);
// DataRoot: tree over the TensorRoots of a program's data.
Digest256 DataRoot(std::span<const Digest256> roots);

// What the client fixed for one response, never the worker.
struct SequenceSpec {
  std::vector<TokenId> prompt, stop_ids;
  float temperature = 1, top_p = 1, min_p = 0;
  std::uint32_t top_k = 0;
  std::uint32_t key0 = 0, key1 = 0, sample = 0;
  std::uint32_t tokens_max = 1;  // at most RunProgram::tokens_max
};
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, SequenceSpec>
void Fields(T& x, V&& v) {
  v.Numbers(1, "prompt", x.prompt, kDisputeLimits.tokens_max);
  v.Numbers(2, "stop_ids", x.stop_ids, 1024);
  v(3, "temperature", x.temperature);
  v(4, "top_p", x.top_p);
  v(5, "min_p", x.min_p);
  v(6, "top_k", x.top_k);
  v(7, "key0", x.key0);
  v(8, "key1", x.key1);
  v(9, "sample", x.sample);
  v(10, "tokens_max", x.tokens_max);
}

// What the client fixed for one training step.
struct StepSpec {
  std::vector<std::uint32_t> rows;             // of each sample that carries a gradient
  std::vector<std::uint32_t> inv_temperature;  // fp32 bits, per sample
  Digest256 data{};                         // DataRoot: per sample tokens, targets, u, [u_entropy]
  bool entropy = false;                     // whether samples carry u_entropy
  std::uint32_t lr = 0, c1 = 0, c2 = 0;     // fp32 bits
  std::vector<std::uint32_t> weight_decay;  // fp32 bits, per tensor in name order
};
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, StepSpec>
void Fields(T& x, V&& v) {
  v.Numbers(1, "rows", x.rows, kDisputeLimits.samples_max);
  v.Numbers(2, "inv_temperature", x.inv_temperature, kDisputeLimits.samples_max);
  v(3, "data", x.data);
  v(4, "lr", x.lr);
  v(5, "c1", x.c1);
  v(6, "c2", x.c2);
  v.Numbers(7, "weight_decay", x.weight_decay, 1 << 16);
  v(8, "entropy", x.entropy);
}

// --- Requests and replies. ---

enum class DisputeTree : std::uint8_t {
  kUnits = 0,
  kSequences = 1,
  kTokens = 2,
  kNodes = 3,
  kTiles = 4,
  kState = 5,
};
enum class RequestKind : std::uint8_t {
  kOpen = 0,          // record: RunCommit
  kChildren = 1,      // hashes: nodes of `tree`, `steps` levels below (level, index)
  kRecord = 2,        // record: what leaf `index` of `tree` stands for
  kGround = 3,        // record, proof: the client's spec and its path; words, hashes: see GroundOf
  kGraph = 4,         // record: StepRecord of the token, or of the step with its nodes
  kInput = 5,         // record, proof: state or node record that input `index` of `node` comes from
  kHead = 6,          // hashes: tiles root of output `slot` of `node`
  kData = 7,          // words: data tensors that `node` reads, one after the other
  kTiles = 8,         // tiles: per input of `node` from state or nodes
  kResult = 9,        // record, proof: node record that result `index` comes from
  kBatch = 10,        // words: the responses that a step is taken on (PutResponses)
  kDescription = 11,  // record: what DescribedRun::description is the hash of
};
inline bool IsKnown(DisputeTree tree) { return tree <= DisputeTree::kState; }
inline bool IsKnown(RequestKind kind) { return kind <= RequestKind::kDescription; }
const char* ToString(RequestKind kind);

struct DisputeRequest {
  Digest256 dispute{};
  std::uint32_t round = 0;
  std::uint8_t party = 0;  // 0: a, 1: b
  RequestKind kind = RequestKind::kOpen;
  DisputeTree tree = DisputeTree::kUnits;
  std::uint64_t unit = 0;  // where the dispute stands
  std::uint32_t sequence = 0, token = 0, node = 0;
  std::uint8_t slot = 0;
  std::uint64_t tile = 0;
  std::uint8_t level = 0, steps = 0;
  std::uint64_t index = 0;
  std::int64_t deadline_ns = 0;
  bool operator==(const DisputeRequest&) const = default;
};
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, DisputeRequest>
void Fields(T& x, V&& v) {
  v(1, "dispute", x.dispute);
  v(2, "round", x.round);
  v(3, "party", x.party);
  v(4, "kind", x.kind);
  v(5, "tree", x.tree);
  v(6, "unit", x.unit);
  v(7, "sequence", x.sequence);
  v(8, "token", x.token);
  v(9, "node", x.node);
  v(10, "slot", x.slot);
  v(11, "tile", x.tile);
  v(12, "level", x.level);
  v(13, "steps", x.steps);
  v(14, "index", x.index);
  v(15, "deadline_ns", x.deadline_ns);
}

struct TileReply {
  Digest256 root{};  // of the tensor's tile tree
  Bytes bytes;       // the tiles, ascending
  Bytes proof;       // digests end to end
  bool operator==(const TileReply&) const = default;
};
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, TileReply>
void Fields(T& x, V&& v) {
  v(1, "root", x.root);
  v.Numbers(2, "bytes", x.bytes, kDisputeLimits.reply_bytes_max);
  v.Numbers(3, "proof", x.proof, kDisputeLimits.reply_bytes_max);
}

struct DisputeReply {
  Digest256 dispute{};
  std::uint32_t round = 0;
  std::uint8_t party = 0;
  bool extension = false;  // no answer yet: asks for the time of this request once more
  Bytes hashes;            // digests end to end
  Bytes record, proof, extra, extra_proof;
  std::vector<std::uint32_t> words;
  std::vector<TileReply> tiles;
  bool operator==(const DisputeReply&) const = default;
};
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, DisputeReply>
void Fields(T& x, V&& v) {
  v(1, "dispute", x.dispute);
  v(2, "round", x.round);
  v(3, "party", x.party);
  v(4, "extension", x.extension);
  v.Numbers(5, "hashes", x.hashes, kDisputeLimits.reply_bytes_max);
  v.Numbers(6, "record", x.record, kDisputeLimits.reply_bytes_max);
  v.Numbers(7, "proof", x.proof, kDisputeLimits.reply_bytes_max);
  v.Numbers(8, "extra", x.extra, kDisputeLimits.reply_bytes_max);
  v.Numbers(9, "extra_proof", x.extra_proof, kDisputeLimits.reply_bytes_max);
  v.Numbers(10, "words", x.words, kDisputeLimits.reply_bytes_max / 4);
  v.Structs(11, "tiles", x.tiles, 255);
}

// A reply as it travels: its encoding and the party's signature over it.
struct SignedReply {
  Bytes body;
  Signature signature{};
  bool operator==(const SignedReply&) const = default;
};
SignedReply Sign(const Signer& signer, const DisputeReply& reply);
Result<DisputeReply> DecodeReply(std::span<const std::uint8_t> body);

// Requests come from a referee that a party need not believe: parties answer what does not exist
// with nothing.
// Whether the answer has to be computed again: DisputeRules::work_ns, not hash_ns.
bool NeedsWork(const DisputeRequest& request);
inline std::int64_t PatienceOf(const DisputeRules& rules, const DisputeRequest& request) {
  return NeedsWork(request) ? rules.work_ns : rules.hash_ns;
}
Bytes Encode(const DisputeRequest& request);
Result<DisputeRequest> DecodeRefereeRequest(std::span<const std::uint8_t> bytes);

Bytes PutDigests(std::span<const Digest256> digests);
std::optional<std::vector<Digest256>> GetDigests(std::span<const std::uint8_t> bytes);

}  // namespace waggle
