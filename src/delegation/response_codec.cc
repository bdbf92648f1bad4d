#include "delegation/response_codec.h"

namespace waggle {
namespace {

void Put(std::uint32_t word, Bytes& to) {
  for (int i = 0; i < 4; ++i) to.push_back(static_cast<std::uint8_t>(word >> (8 * i)));
}
std::uint32_t Word(std::span<const std::uint8_t> bytes, std::size_t at) {
  std::uint32_t word = 0;
  for (std::size_t i = 0; i < 4; ++i) word |= std::uint32_t{bytes[at + i]} << (8 * i);
  return word;
}

}  // namespace

void AppendResponse(std::span<const TokenRecord> response, Bytes& to) {
  Put(static_cast<std::uint32_t>(response.size()), to);
  for (const TokenRecord& token : response) {
    Put(static_cast<std::uint32_t>(token.token), to);
    Put(token.logp, to);
  }
}

Bytes PackResponses(const RolloutClaims& responses, std::uint64_t first, std::size_t bytes_max) {
  Bytes bytes;
  for (std::uint64_t s = first; s < responses.size(); ++s) {
    if (!bytes.empty() && bytes.size() + 8 * responses[s].size() > bytes_max) break;
    AppendResponse(responses[s], bytes);
  }
  return bytes;
}

Result<DecodedResponses> DecodeResponses(std::span<const std::uint8_t> bytes,
                                         std::uint32_t tokens_max) {
  DecodedResponses read;
  while (bytes.size() - read.bytes >= 4) {
    const std::uint32_t count = Word(bytes, read.bytes);
    if (count == 0 || count > tokens_max)
      return Fail(Blame::kPeer, "response {} has {} tokens", read.responses.size(), count);
    if (bytes.size() - read.bytes - 4 < std::size_t{8} * count) break;
    std::vector<TokenRecord>& response = read.responses.emplace_back();
    for (std::uint32_t i = 0; i < count; ++i) {
      const std::size_t at = read.bytes + 4 + std::size_t{8} * i;
      response.push_back({i, static_cast<TokenId>(Word(bytes, at)), Word(bytes, at + 4)});
    }
    read.bytes += 4 + std::size_t{8} * count;
  }
  return read;
}

}  // namespace waggle
