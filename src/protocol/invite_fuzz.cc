// Arbitrary text as an invite and as an address: refused with a reason, or the value prints as the
// text in lower case, so one invite has one spelling.
#include "base/check.h"
#include "crypto/identity.h"
#include "protocol/invite.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  std::string lower;
  for (const char c : text) lower += c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  const std::size_t begin = std::min(lower.find_first_not_of(" \t\r\n"), lower.size());
  lower = lower.substr(begin, lower.find_last_not_of(" \t\r\n") + 1 - begin);
  const auto invite = waggle::ParseInvite(text);
  if (invite)
    waggle::Check(waggle::ToText(*invite) == lower, "one invite, one spelling");
  else
    waggle::Check(!invite.error().what.empty(), "a refusal says why");
  if (const auto id = waggle::ParseNodeId(text))
    waggle::Check(waggle::ToText(*id) == lower, "one address, one spelling");
  return 0;
}
