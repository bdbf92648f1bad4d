// Strong<Rep, Tag>: numbers that must not be confused with one another.
#pragma once

#include <compare>
#include <cstdint>

namespace waggle {

template <class Rep, class Tag>
struct Strong {
  Rep value{};
  auto operator<=>(const Strong&) const = default;
};

using PolicyVersion = Strong<std::uint64_t, struct PolicyVersionTag>;
using TokenId =
    std::int32_t;  // index into a vocabulary; hot loops index with it, so it stays a plain integer

}  // namespace waggle
