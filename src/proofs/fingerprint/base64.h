// Standard base64 (RFC 4648, section 4) with padding, one text per sequence of bytes: what a
// foreign format writes into JSON and Parquet.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/wire.h"

namespace waggle {

std::string ToBase64(std::span<const std::uint8_t> bytes);
// Refuses (blame peer) other characters, missing padding, and bits that no byte needs.
Result<Bytes> FromBase64(std::string_view text);

}  // namespace waggle
