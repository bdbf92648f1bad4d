// Failures carry blame in their type (docs/ARCHITECTURE.md, "Blame"): who has to act, and whether
// anybody may ever be punished for it. Only Blame::kPeer can become an accusation.
#pragma once

#include <fmt/format.h>

#include <string>
#include <tl/expected.hpp>
#include <utility>

namespace waggle {

enum class Blame : unsigned char {
  kPeer,      // bytes or claims from outside are wrong
  kOperator,  // a recipe, a flag or a path given by the person who runs this node is wrong
  kMachine,   // our disk, memory, clock or CPU failed
  kBug,       // our own code broke a promise
};

struct Error {
  Blame blame = Blame::kBug;
  std::string what;  // one sentence: what was wrong, where (field, offset), what to do next
};

template <class T>
using Result = tl::expected<T, Error>;
using Status = Result<void>;

template <class... Args>
[[nodiscard]] tl::unexpected<Error> Fail(Blame blame, fmt::format_string<Args...> format,
                                         Args&&... args) {
  return tl::unexpected<Error>(Error{blame, fmt::format(format, std::forward<Args>(args)...)});
}

[[nodiscard]] inline tl::unexpected<Error> Forward(Error error) {
  return tl::unexpected<Error>(std::move(error));
}

const char* ToString(Blame blame);

}  // namespace waggle

// Leaves the enclosing function with the error of `expr` (a Result or Status) if it has one.
#define WG_TRY(expr)                                          \
  do {                                                        \
    if (auto wg_status = (expr); !wg_status)                  \
      return ::waggle::Forward(std::move(wg_status.error())); \
  } while (false)

// WG_ASSIGN(auto x, F()): x = value of F(), or leaves with its error.
#define WG_CONCAT_(a, b) a##b
#define WG_CONCAT(a, b) WG_CONCAT_(a, b)
#define WG_ASSIGN(lhs, expr) WG_ASSIGN_(WG_CONCAT(wg_result_, __LINE__), lhs, expr)
#define WG_ASSIGN_(tmp, lhs, expr)                            \
  auto tmp = (expr);                                          \
  if (!tmp) return ::waggle::Forward(std::move(tmp.error())); \
  lhs = std::move(*tmp)
