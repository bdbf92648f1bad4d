#include "ledger/entries.h"

#include <algorithm>

#include "crypto/keccak.h"

namespace waggle {
namespace {

constexpr std::string_view kNames[] = {
    "deposit",       "withdraw",      "transfer",        "open-run",
    "lock-budget",   "close-run",     "stake",           "unbond",
    "cancel-unbond", "take-stake",    "join-validators", "leave-validators",
    "commit-batch",  "equivocation",  "seal-epoch",      "beacon-commit",
    "beacon-reveal", "beacon-close",  "beacon-external", "verdict",
    "canary-commit", "canary-reveal", "accuse",          "contest",
    "resolve",       "lapse-dispute", "settle-epoch",    "claim-vested",
    "contest-canary"};
static_assert(std::size(kNames) == std::variant_size_v<LedgerBody>);

void Append(Bytes& out, std::span<const std::uint8_t> bytes) {
  out.insert(out.end(), bytes.begin(), bytes.end());
}
void Append(Bytes& out, std::uint64_t number) {
  for (int i = 0; i < 8; ++i) out.push_back(static_cast<std::uint8_t>(number >> (8 * i)));
}
void Append(Bytes& out, std::string_view text) { out.insert(out.end(), text.begin(), text.end()); }

template <std::size_t kIndex = 0>
tl::expected<LedgerBody, WireError> DecodeBody(std::size_t kind,
                                               std::span<const std::uint8_t> bytes) {
  if constexpr (kIndex < std::variant_size_v<LedgerBody>) {
    if (kind != kIndex + 1) return DecodeBody<kIndex + 1>(kind, bytes);
    auto value = WireDecode<std::variant_alternative_t<kIndex, LedgerBody>>(bytes, kEntryBytesMax);
    if (!value) return tl::unexpected(std::move(value.error()));
    return LedgerBody(std::move(*value));
  } else {
    return tl::unexpected(
        WireError{WireProblem::kMalformed, fmt::format("kind {}: no such request", kind)});
  }
}

// Takes `size` bytes off the front. REQUIRES that they are there.
std::span<const std::uint8_t> Take(std::span<const std::uint8_t>& bytes, std::size_t size) {
  const auto front = bytes.first(size);
  bytes = bytes.subspan(size);
  return front;
}
std::uint64_t TakeU64(std::span<const std::uint8_t>& bytes) {
  std::uint64_t number = 0;
  const auto eight = Take(bytes, 8);
  for (int i = 0; i < 8; ++i) number |= std::uint64_t{eight[i]} << (8 * i);
  return number;
}

constexpr std::size_t kStampBytes = 16, kAuthorBytes = 32 + 8 + 1, kSignatureBytes = 64;

Bytes Unsigned(const LedgerRequest& request) {
  Bytes out;
  Append(out, request.author.value);
  Append(out, request.nonce);
  out.push_back(static_cast<std::uint8_t>(request.body.index() + 1));
  std::visit(
      [&](const auto& body) {
        WireWriter writer(out, kEntryBytesMax);
        Fields(body, writer);
      },
      request.body);
  return out;
}

Digest256 Labelled(std::string_view label, const LedgerRun& run, std::uint64_t epoch,
                   const NodeId& node, const Digest256& secret, std::uint8_t last) {
  Bytes bytes;
  Append(bytes, label);
  Append(bytes, run.value);
  Append(bytes, epoch);
  Append(bytes, node.value);
  Append(bytes, secret);
  bytes.push_back(last);
  return Keccak256(bytes);
}

}  // namespace

LedgerId IdOf(const LedgerGenesis& genesis) {
  return LedgerId{Keccak256(WireEncode(genesis, kEntryBytesMax))};
}

const char* ToString(Finding finding) {
  switch (finding) {
    case Finding::kAccepted:
      return "accepted";
    case Finding::kUnavailable:
      return "unavailable";
    case Finding::kInvalid:
      return "invalid";
    case Finding::kStatistical:
      return "statistical";
    case Finding::kWrong:
      return "wrong";
    case Finding::kFault:
      return "fault";
  }
  return "unknown";
}

std::string_view NameOf(const LedgerBody& body) { return kNames[body.index()]; }
std::span<const std::string_view> LedgerBodyNames() { return kNames; }

Bytes Encode(const LedgerRequest& request) {
  Bytes out = Unsigned(request);
  Append(out, request.signature);
  return out;
}

Bytes Encode(const LedgerEntry& entry) {
  Bytes out;
  Append(out, entry.sequence);
  Append(out, entry.at_ms);
  Append(out, Encode(entry.request));
  return out;
}

Result<LedgerRequest> DecodeRequest(std::span<const std::uint8_t> bytes) {
  if (bytes.size() > kEntryBytesMax)
    return Fail(Blame::kPeer, "a request of {} bytes, limit {}", bytes.size(), kEntryBytesMax);
  if (bytes.size() < kAuthorBytes + kSignatureBytes)
    return Fail(Blame::kPeer, "a request of {} bytes is cut off", bytes.size());
  LedgerRequest request;
  std::ranges::copy(Take(bytes, 32), request.author.value.begin());
  request.nonce = TakeU64(bytes);
  const std::size_t kind = Take(bytes, 1)[0];
  auto body = DecodeBody(kind, Take(bytes, bytes.size() - kSignatureBytes));
  if (!body) return Fail(Blame::kPeer, "a request's body: {}", body.error().what);
  request.body = std::move(*body);
  std::ranges::copy(bytes, request.signature.begin());
  return request;
}

Result<LedgerEntry> DecodeEntry(std::span<const std::uint8_t> bytes) {
  if (bytes.size() < kStampBytes)
    return Fail(Blame::kPeer, "an entry of {} bytes is cut off", bytes.size());
  LedgerEntry entry;
  entry.sequence = TakeU64(bytes);
  entry.at_ms = TakeU64(bytes);
  WG_ASSIGN(entry.request, DecodeRequest(bytes));
  return entry;
}

Bytes RequestMessage(const LedgerId& ledger, const LedgerRequest& request) {
  Bytes message(ledger.value.begin(), ledger.value.end());
  Append(message, Unsigned(request));
  return message;
}

Bytes BatchMessage(const LedgerId& ledger, const BatchClaim& claim) {
  Bytes message(ledger.value.begin(), ledger.value.end());
  WireWriter writer(message, kEntryBytesMax);
  Fields(claim, writer);
  return message;
}

LedgerRequest SignRequest(const Signer& author, const LedgerId& ledger, std::uint64_t nonce,
                          LedgerBody body) {
  LedgerRequest request{author.id(), nonce, std::move(body), {}};
  request.signature = author.Sign(kRequestDomain, RequestMessage(ledger, request));
  return request;
}

Signature SignBatch(const Signer& worker, const LedgerId& ledger, const BatchClaim& claim) {
  return worker.Sign(kBatchDomain, BatchMessage(ledger, claim));
}

Digest256 BeaconHash(const LedgerRun& run, std::uint64_t epoch, const NodeId& validator,
                     const Digest256& secret) {
  return Labelled("waggle-beacon-1", run, epoch, validator, secret, 0);
}

Digest256 CanaryHash(const LedgerRun& run, std::uint64_t epoch, const NodeId& worker,
                     const Digest256& salt, bool bad) {
  return Labelled("waggle-canary-1", run, epoch, worker, salt, bad ? 1 : 0);
}

}  // namespace waggle
