// Parts of graders: finding the answer in what a policy wrote, and deciding whether two numbers are
// the same number. All functions are pure and total, linear in the text (except where stated), and
// compare exactly: no floating point.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace waggle {

// Text after the last "</think>"; nullopt if there is none.
std::optional<std::string_view> AfterThinking(std::string_view text);
// The same, or the whole text if there is none.
std::string_view AfterOptionalThinking(std::string_view text);
// Content of the last complete <name>...</name>; nullopt if there is none. An opening tag inside
// the content starts anew.
std::optional<std::string_view> LastTag(std::string_view text, std::string_view name);
// How well the text keeps to the fields <a>...</a><b>...</b> in this order, in [0, 1]: 0.4 x share
// of fields present with non-blank content, 0.2 if the present ones come in order, 0.2 if the text
// starts with the first, 0.2 if it ends with the last. A field without content counts as absent, so
// an empty skeleton earns nothing.
double TagFormat(std::string_view text, const std::vector<std::string>& names);

// Content of the last \boxed{...} or \fbox{...} with balanced braces ("\{" and "\}" do not count),
// or the token after
// "\boxed ". Unbalanced ones are passed over; of nested boxes the innermost counts.
std::optional<std::string_view> LastBoxed(std::string_view text);

// The last number in the text as written there, sign included: "$1,234.50", "-3/4" and "12%" yield
// "1,234.50", "-3/4", "12%". A sign counts only where it is not a minus between operands ("5-3"
// ends in "3").
std::optional<std::string> LastNumberText(std::string_view text);

// An exact number as sign, digits and a denominator: value = (negative ? -1 : 1) * numerator /
// denominator, both decimal digit strings of any length without leading zeros, denominator not "0",
// fraction not necessarily reduced.
struct ExactNumber {
  bool negative = false;
  std::string numerator = "0", denominator = "1";
};
// Reads integers, thousands separators (groups of three only), decimals, exponents up to +-200,
// a/b, \frac{a}{b}, \frac12, mixed numbers "1 1/2", within $ signs, spacing commands, Markdown
// emphasis, "x=", and with a final full stop. "50%" is 1/2 if `percent`, else 50. nullopt: anything
// else, or beyond 400 digits.
std::optional<ExactNumber> ReadNumber(std::string_view text, bool percent = false);
// a/b == c/d by exact cross multiplication. -0 equals 0.
bool SameNumber(const ExactNumber& a, const ExactNumber& b);

// Where the answer is, in the order tried: after "</think>", in a box, after a marker, the last
// number.
struct AnswerRule {
  bool after_thinking = false;  // then a text without "</think>" has no answer
  bool boxed = true;
  std::vector<std::string>
      markers;  // rest of the line (or the next line) after the last one that is no part of a word
  bool last_number = false;
  std::vector<std::string> units;  // whole words that may stand around the number
};
std::optional<std::string> ExtractAnswer(std::string_view text, const AnswerRule& rule);

// The number an extracted answer states. Either all of it is a number (with units), or exactly one
// number occurs in it: "18 eggs" is 18, "18 or 20" is nothing, so that hedging does not pay.
std::optional<ExactNumber> StatedNumber(std::string_view answer, const AnswerRule& rule);

enum class AnswerStatus : std::uint8_t { kOk, kWrong, kUnparseable, kBadGold };
// Exact comparison; kBadGold if the gold answer states no number, kUnparseable if the answer states
// none.
AnswerStatus CompareNumbers(std::string_view answer, std::string_view gold, const AnswerRule& rule);

}  // namespace waggle
