// Reading numbers as people and models write them, exactly.
#include <algorithm>
#include <array>
#include <cstdint>

#include "environments/graders.h"
#include "environments/task_tools.h"

namespace waggle {
namespace {

constexpr std::size_t kDigitsMax = 400;
constexpr int kExponentMax = 200;

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// A natural number in base 10^9, least significant first. Sizes stay small (kDigitsMax), so
// schoolbook it is.
using Limbs = std::vector<std::uint32_t>;
constexpr std::uint64_t kBase = 1000000000;

Limbs FromDigits(std::string_view digits) {
  Limbs limbs;
  for (std::size_t end = digits.size(); end > 0;) {
    const std::size_t begin = end > 9 ? end - 9 : 0;
    std::uint32_t limb = 0;
    for (std::size_t i = begin; i < end; ++i)
      limb = limb * 10 + static_cast<std::uint32_t>(digits[i] - '0');
    limbs.push_back(limb);
    end = begin;
  }
  while (!limbs.empty() && limbs.back() == 0) limbs.pop_back();
  return limbs;
}

Limbs Times(const Limbs& a, const Limbs& b) {
  Limbs out(a.size() + b.size(), 0);
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::uint64_t carry = 0;
    for (std::size_t j = 0; j < b.size() || carry != 0; ++j) {
      const std::uint64_t sum =
          out[i + j] + carry + (j < b.size() ? std::uint64_t{a[i]} * b[j] : 0);
      out[i + j] = static_cast<std::uint32_t>(sum % kBase);
      carry = sum / kBase;
    }
  }
  while (!out.empty() && out.back() == 0) out.pop_back();
  return out;
}

Limbs Plus(Limbs a, const Limbs& b) {
  a.resize(std::max(a.size(), b.size()) + 1, 0);
  std::uint64_t carry = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const std::uint64_t sum = a[i] + carry + (i < b.size() ? b[i] : 0);
    a[i] = static_cast<std::uint32_t>(sum % kBase);
    carry = sum / kBase;
  }
  while (!a.empty() && a.back() == 0) a.pop_back();
  return a;
}

std::string ToDigits(const Limbs& limbs) {
  std::string digits;
  for (std::size_t i = limbs.size(); i > 0; --i) {
    std::string limb = std::to_string(limbs[i - 1]);
    if (!digits.empty()) limb.insert(0, 9 - limb.size(), '0');
    digits += limb;
  }
  return digits.empty() ? "0" : digits;
}

void StripZeros(std::string& digits) {
  digits.erase(0, std::min(digits.find_first_not_of('0'), digits.size()));
  if (digits.empty()) digits = "0";
}

// "12", "1,234", at most kDigitsMax digits.
std::optional<std::string> ReadDigits(std::string_view text) {
  if (text.empty() || text.size() > kDigitsMax * 2) return std::nullopt;
  std::string digits;
  const std::size_t first_comma = text.find(',');
  if (first_comma != std::string_view::npos && (first_comma == 0 || first_comma > 3))
    return std::nullopt;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == ',') {
      // A separator stands before each group of exactly three digits, counted from the first one.
      if ((i - first_comma) % 4 != 0 || text.size() - i < 4) return std::nullopt;
    } else if (!IsDigit(text[i]) || (first_comma != std::string_view::npos && i > first_comma &&
                                     (i - first_comma) % 4 == 0)) {
      return std::nullopt;
    } else {
      digits += text[i];
    }
  }
  if (first_comma != std::string_view::npos && (text.size() - first_comma) % 4 != 0)
    return std::nullopt;
  if (digits.size() > kDigitsMax) return std::nullopt;
  return digits;
}

// "12", "1,234.50", ".5", "5.", "1.5e3".
std::optional<ExactNumber> ReadDecimal(std::string_view text) {
  int exponent = 0;
  const std::size_t e = text.find_first_of("eE");
  if (e != std::string_view::npos) {
    std::string_view power = text.substr(e + 1);
    const bool negative = power.starts_with('-');
    if (negative || power.starts_with('+')) power.remove_prefix(1);
    if (power.empty() || power.size() > 3 || !std::all_of(power.begin(), power.end(), IsDigit))
      return std::nullopt;
    for (const char c : power) exponent = exponent * 10 + (c - '0');
    if (exponent > kExponentMax) return std::nullopt;
    if (negative) exponent = -exponent;
    text = text.substr(0, e);
  }
  const std::size_t point = std::min(text.find('.'), text.size());
  const std::string_view whole = text.substr(0, point),
                         fraction = text.substr(std::min(point + 1, text.size()));
  if (whole.empty() && fraction.empty()) return std::nullopt;
  if (fraction.size() > kDigitsMax || !std::all_of(fraction.begin(), fraction.end(), IsDigit))
    return std::nullopt;
  ExactNumber number;
  if (!whole.empty()) {
    const auto digits = ReadDigits(whole);
    if (!digits) return std::nullopt;
    number.numerator = *digits;
  }
  number.numerator += fraction;
  const int shift = exponent - static_cast<int>(fraction.size());
  if (shift > 0) number.numerator.append(static_cast<std::size_t>(shift), '0');
  if (shift < 0) number.denominator.append(static_cast<std::size_t>(-shift), '0');
  StripZeros(number.numerator);
  return number;
}

std::optional<ExactNumber> MakeFraction(std::string_view top, std::string_view bottom) {
  top = Trim(top);
  const bool negative = top.starts_with('-');
  const auto numerator = ReadDigits(top.substr(negative ? 1 : 0)),
             denominator = ReadDigits(Trim(bottom));
  if (!numerator || !denominator) return std::nullopt;
  ExactNumber number{negative, *numerator, *denominator};
  StripZeros(number.numerator);
  StripZeros(number.denominator);
  if (number.denominator == "0") return std::nullopt;
  return number;
}

// The part after "\frac": "{a}{b}", "12", "1{2}"; nullopt for anything else.
std::optional<ExactNumber> ReadLatexFraction(std::string_view text) {
  std::array<std::string_view, 2> parts;
  for (std::string_view& part : parts) {
    text = Trim(text);
    if (text.starts_with('{')) {
      const std::size_t end = text.find('}');
      if (end == std::string_view::npos) return std::nullopt;
      part = text.substr(1, end - 1);
      text.remove_prefix(end + 1);
    } else if (!text.empty()) {
      part = text.substr(0, 1);
      text.remove_prefix(1);
    }
  }
  if (!Trim(text).empty()) return std::nullopt;
  return MakeFraction(parts[0], parts[1]);
}

std::optional<ExactNumber> ReadFraction(std::string_view text) {
  constexpr std::string_view kFrac = "\\frac";
  if (text.starts_with(kFrac)) return ReadLatexFraction(text.substr(kFrac.size()));
  const std::size_t slash = text.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  return MakeFraction(text.substr(0, slash), text.substr(slash + 1));
}

// whole + fraction, for "1 1/2" and "1\frac{1}{2}".
std::optional<ExactNumber> ReadMixed(std::string_view text) {
  std::size_t end = 0;
  while (end < text.size() && IsDigit(text[end])) ++end;
  const std::string_view rest = text.substr(end);
  if (end == 0 || !(rest.starts_with(' ') || rest.starts_with('\\'))) return std::nullopt;
  const auto whole = ReadDigits(text.substr(0, end));
  const auto fraction = ReadFraction(Trim(rest));
  if (!whole || !fraction || fraction->negative) return std::nullopt;
  const Limbs denominator = FromDigits(fraction->denominator);
  ExactNumber number = *fraction;
  number.numerator =
      ToDigits(Plus(Times(FromDigits(*whole), denominator), FromDigits(fraction->numerator)));
  return number;
}

void Replace(std::string& text, std::string_view what, std::string_view with) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t next = std::min(text.find(what, at), text.size());
    out.append(text, at, next - at);
    if (next < text.size()) out += with;
    at = next + (next < text.size() ? what.size() : 0);
  }
  text = std::move(out);
}

// Takes typesetting off; what is left decides. Only marks that cannot change a value.
std::string Normalised(std::string_view raw) {
  std::string text(raw);
  constexpr std::pair<const char*, const char*> kMarks[] = {
      {"\\dfrac", "\\frac"}, {"\\tfrac", "\\frac"}, {"\\left", ""}, {"\\right", ""}, {"\\!", ""},
      {"\\,", ""},           {"\\;", ""},           {"\\(", ""},    {"\\)", ""},     {"\\[", ""},
      {"\\]", ""},           {"\\$", ""},           {"$", ""},      {"{,}", ","},    {"\\%", "%"},
      {"\u2212", "-"}};
  for (const auto& [what, with] : kMarks) Replace(text, what, with);
  std::string_view view = Trim(text);
  const auto strip_ends = [&view](std::string_view characters) {
    const std::size_t begin = view.find_first_not_of(characters);
    view = begin == std::string_view::npos
               ? std::string_view()
               : view.substr(begin, view.find_last_not_of(characters) - begin + 1);
  };
  strip_ends("*_`\"' ");
  if (view.ends_with('.')) view.remove_suffix(1);
  strip_ends("*_`\"' ");
  const bool letter = !view.empty() && static_cast<unsigned>((view[0] | 0x20) - 'a') < 26;
  if (letter) {
    const std::string_view after = Trim(view.substr(1));
    if (after.starts_with('=')) view = Trim(after.substr(1));
  }
  return std::string(view);
}

}  // namespace

std::optional<ExactNumber> ReadNumber(std::string_view raw, bool percent) {
  if (raw.size() > 2000) return std::nullopt;
  const std::string normalised = Normalised(raw);
  std::string_view text = normalised;
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text = Trim(text.substr(1));
  const bool hundredths = text.ends_with('%');
  if (hundredths) text = Trim(text.substr(0, text.size() - 1));
  auto number = ReadDecimal(text);
  if (!number) number = ReadFraction(text);
  if (!number) number = ReadMixed(text);
  if (!number) return std::nullopt;
  if (hundredths && percent) number->denominator += "00";
  number->negative = (negative != number->negative) && number->numerator != "0";
  return number;
}

bool SameNumber(const ExactNumber& a, const ExactNumber& b) {
  if (a.negative != b.negative) return false;
  return Times(FromDigits(a.numerator), FromDigits(b.denominator)) ==
         Times(FromDigits(b.numerator), FromDigits(a.denominator));
}

}  // namespace waggle
