#include "ledger/money.h"

#include <charconv>

namespace waggle {

std::string ToText(Credits amount) {
  const bool negative = amount.value < 0;
  const auto bits = static_cast<std::uint64_t>(amount.value);
  const std::uint64_t size = negative ? 0 - bits : bits;
  std::string text = fmt::format("{}{}", negative ? "-" : "", size / kCreditsPerUnit);
  if (size % kCreditsPerUnit == 0) return text;
  text += fmt::format(".{:06}", size % kCreditsPerUnit);
  while (text.back() == '0') text.pop_back();
  return text;
}

Result<Credits> ParseCredits(std::string_view text) {
  const std::string_view all = text;
  const auto refuse = [&] {
    return Fail(Blame::kOperator, "'{}' is no amount: units with up to six decimals, like 12.5",
                all);
  };
  const bool negative = text.starts_with('-');
  if (negative) text.remove_prefix(1);
  const std::size_t dot = text.find('.');
  const std::string_view whole = text.substr(0, dot);
  std::string decimals(dot == std::string_view::npos ? "" : text.substr(dot + 1));
  if (decimals.size() > 6 || (dot != std::string_view::npos && decimals.empty())) return refuse();
  decimals.append(6 - decimals.size(), '0');
  std::uint64_t units = 0, micro = 0;
  const auto read = [](std::string_view digits, std::uint64_t& value) {
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    return error == std::errc{} && end == digits.data() + digits.size();
  };
  if (!read(whole, units) || !read(decimals, micro)) return refuse();
  if (units > static_cast<std::uint64_t>(kSupplyMax.value / kCreditsPerUnit)) return refuse();
  const auto size =
      static_cast<std::int64_t>(units * static_cast<std::uint64_t>(kCreditsPerUnit) + micro);
  return Credits{negative ? -size : size};
}

}  // namespace waggle
