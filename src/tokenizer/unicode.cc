#include "tokenizer/unicode.h"

#include <algorithm>
#include <array>
#include <memory>
#include <vector>

#include "tokenizer/unicode_tables.h"

namespace waggle::unicode {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

// Length a lead byte announces (0: no lead byte) and the range its second byte must lie in.
struct Lead {
  unsigned length, low, high;
};
Lead LeadOf(unsigned char byte) {
  if (byte >= 0xC2 && byte <= 0xDF) return {2, 0x80, 0xBF};
  if (byte >= 0xE0 && byte <= 0xEF)
    return {3, byte == 0xE0 ? 0xA0u : 0x80u, byte == 0xED ? 0x9Fu : 0xBFu};
  if (byte >= 0xF0 && byte <= 0xF4)
    return {4, byte == 0xF0 ? 0x90u : 0x80u, byte == 0xF4 ? 0x8Fu : 0xBFu};
  return {0, 0, 0};
}

// How many bytes at `at` belong to a started but maybe unfinished character (Unicode's maximal
// subpart). *needed is the full length it announced.
std::size_t Subpart(std::string_view text, std::size_t at, unsigned* needed) {
  const auto byte = static_cast<unsigned char>(text[at]);
  const Lead lead = byte < 0x80 ? Lead{1, 0, 0} : LeadOf(byte);
  *needed = lead.length;
  std::size_t have = 1;
  while (have < lead.length && at + have < text.size()) {
    const auto next = static_cast<unsigned char>(text[at + have]);
    const unsigned low = have == 1 ? lead.low : 0x80, high = have == 1 ? lead.high : 0xBF;
    if (next < low || next > high) break;
    ++have;
  }
  return have;
}

bool InRanges(const Range* ranges, std::size_t count, char32_t c) {
  const Range* end = ranges + count;
  const Range* at =
      std::lower_bound(ranges, end, c, [](const Range& r, char32_t x) { return r.last < x; });
  return at != end && at->first <= c;
}

Class Search(char32_t c) {
  if (InRanges(kLetters, kLettersCount, c)) return Class::kLetter;
  if (InRanges(kNumbers, kNumbersCount, c)) return Class::kNumber;
  return InRanges(kSpaces, kSpacesCount, c) ? Class::kSpace : Class::kOther;
}

using PlaneTable = std::array<Class, 0x10000>;
std::unique_ptr<PlaneTable> BuildPlane() {
  auto table = std::make_unique<PlaneTable>();
  const auto fill = [&](const Range* ranges, std::size_t count, Class value) {
    for (std::size_t i = 0; i < count && ranges[i].first < 0x10000; ++i) {
      for (char32_t c = ranges[i].first; c <= ranges[i].last && c < 0x10000; ++c)
        (*table)[c] = value;
    }
  };
  fill(kLetters, kLettersCount, Class::kLetter);
  fill(kNumbers, kNumbersCount, Class::kNumber);
  fill(kSpaces, kSpacesCount, Class::kSpace);
  return table;
}

constexpr char32_t kHangulS = 0xAC00, kHangulL = 0x1100, kHangulV = 0x1161, kHangulT = 0x11A7;
constexpr char32_t kHangulLCount = 19, kHangulVCount = 21, kHangulTCount = 28;
constexpr char32_t kHangulSCount = kHangulLCount * kHangulVCount * kHangulTCount;

// One unit of text under normalisation. Invalid bytes are kept as kByteBase + byte.
constexpr char32_t kByteBase = 0x80000000;
struct Unit {
  char32_t code_point;
  std::uint8_t combining_class;
};

std::uint8_t CombiningClass(char32_t c) {
  if (c < 0x300) return 0;
  const CombiningRange* end = kCombining + kCombiningCount;
  const CombiningRange* at = std::lower_bound(
      kCombining, end, c, [](const CombiningRange& r, char32_t x) { return r.last < x; });
  return at != end && at->first <= c ? at->combining_class : 0;
}

void Decompose(char32_t c, std::vector<Unit>& out) {
  if (c >= kHangulS && c < kHangulS + kHangulSCount) {
    const char32_t index = c - kHangulS, t = index % kHangulTCount;
    out.push_back({kHangulL + index / (kHangulVCount * kHangulTCount), 0});
    out.push_back({kHangulV + index / kHangulTCount % kHangulVCount, 0});
    if (t != 0) out.push_back({kHangulT + t, 0});
    return;
  }
  if (c - 0xF900 < kIdeographsF900Count && kIdeographsF900[c - 0xF900] != 0) {
    return Decompose(kIdeographsF900[c - 0xF900], out);
  }
  if (c - 0x2F800 < kIdeographs2F800Count && kIdeographs2F800[c - 0x2F800] != 0) {
    return Decompose(kIdeographs2F800[c - 0x2F800], out);
  }
  if (c >= 0xC0 && c < kByteBase) {
    const Decomposition* end = kDecompositions + kDecompositionsCount;
    const Decomposition* at =
        std::lower_bound(kDecompositions, end, c,
                         [](const Decomposition& d, char32_t x) { return d.code_point < x; });
    if (at != end && at->code_point == c) {
      Decompose(at->first, out);
      if (at->second != 0) Decompose(at->second, out);
      return;
    }
  }
  out.push_back({c, c < kByteBase ? CombiningClass(c) : std::uint8_t{0}});
}

// The composition of a pair, or 0.
char32_t Compose(char32_t a, char32_t b) {
  if (a - kHangulL < kHangulLCount && b - kHangulV < kHangulVCount) {
    return kHangulS + ((a - kHangulL) * kHangulVCount + (b - kHangulV)) * kHangulTCount;
  }
  if (a - kHangulS < kHangulSCount && (a - kHangulS) % kHangulTCount == 0 && b > kHangulT &&
      b - kHangulT < kHangulTCount) {
    return a + (b - kHangulT);
  }
  const std::uint16_t* end = kCompositions + kCompositionsCount;
  const std::uint16_t* at = std::lower_bound(kCompositions, end, 0, [&](std::uint16_t i, int) {
    const Decomposition& d = kDecompositions[i];
    return d.first != a ? d.first < a : d.second < b;
  });
  if (at == end || kDecompositions[*at].first != a || kDecompositions[*at].second != b) return 0;
  return kDecompositions[*at].code_point;
}

// Canonical order: stable sort of every run of non-zero combining classes.
void Reorder(std::vector<Unit>& units) {
  for (std::size_t i = 0; i < units.size();) {
    if (units[i].combining_class == 0) {
      ++i;
      continue;
    }
    std::size_t end = i;
    while (end < units.size() && units[end].combining_class != 0) ++end;
    std::stable_sort(units.begin() + i, units.begin() + end, [](const Unit& a, const Unit& b) {
      return a.combining_class < b.combining_class;
    });
    i = end;
  }
}

void ComposeAll(std::vector<Unit>& units) {
  constexpr std::size_t kNone = static_cast<std::size_t>(-1);
  std::size_t starter = kNone, out = 0;
  int last_class = -1;  // of the character before this one since the starter; -1: adjacent to it
  for (std::size_t i = 0; i < units.size(); ++i) {
    const Unit unit = units[i];
    if (starter != kNone && last_class < static_cast<int>(unit.combining_class)) {
      if (const char32_t whole = Compose(units[starter].code_point, unit.code_point)) {
        units[starter].code_point = whole;
        continue;
      }
    }
    units[out] = unit;
    if (unit.combining_class == 0) {
      starter = out;
      last_class = -1;
    } else {
      last_class = unit.combining_class;
    }
    ++out;
  }
  units.resize(out);
}

}  // namespace

Char DecodeSlow(std::string_view text, std::size_t at) {
  unsigned needed = 0;
  const std::size_t have = Subpart(text, at, &needed);
  if (needed == 0 || have < needed) return {};
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[at + i]); };
  if (needed == 1) return {byte(0), 1};
  char32_t c = byte(0) & (0xFFu >> (needed + 1));
  for (unsigned i = 1; i < needed; ++i) c = (c << 6) | (byte(i) & 0x3Fu);
  return {c, needed};
}

void Append(std::string& out, char32_t c) {
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xC0 | (c >> 6));
    out += static_cast<char>(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    out += static_cast<char>(0xE0 | (c >> 12));
    out += static_cast<char>(0x80 | ((c >> 6) & 0x3F));
    out += static_cast<char>(0x80 | (c & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | (c >> 18));
    out += static_cast<char>(0x80 | ((c >> 12) & 0x3F));
    out += static_cast<char>(0x80 | ((c >> 6) & 0x3F));
    out += static_cast<char>(0x80 | (c & 0x3F));
  }
}

Class ClassOfSlow(char32_t c) {
  static const std::unique_ptr<PlaneTable> plane = BuildPlane();
  return c < 0x10000 ? (*plane)[c] : Search(c);
}

bool IsWord(char32_t c) {
  const Class kind = ClassOf(c);
  return kind == Class::kLetter || kind == Class::kNumber || c == '_' ||
         (c >= 0x300 && InRanges(kMarks, kMarksCount, c));
}

bool IsPlainNfc(std::string_view text) {
  // U+0300 is CC 80: every byte below CC belongs to a smaller character, or is a continuation.
  return std::all_of(text.begin(), text.end(),
                     [](char byte) { return static_cast<unsigned char>(byte) < 0xCC; });
}

std::string Nfc(std::string_view text) {
  if (IsPlainNfc(text)) return std::string(text);
  std::vector<Unit> units;
  units.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const Char c = Decode(text, at);
    if (c.code_point == kInvalid) {
      units.push_back({kByteBase + static_cast<unsigned char>(text[at]), 0});
    } else {
      Decompose(c.code_point, units);
    }
    at += c.length;
  }
  Reorder(units);
  ComposeAll(units);
  std::string out;
  out.reserve(text.size());
  for (const Unit& unit : units) {
    if (unit.code_point >= kByteBase) {
      out += static_cast<char>(unit.code_point - kByteBase);
    } else {
      Append(out, unit.code_point);
    }
  }
  return out;
}

std::string Lossy(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size());
  for (std::size_t at = 0; at < bytes.size();) {
    unsigned needed = 0;
    const std::size_t have = Subpart(bytes, at, &needed);
    if (needed != 0 && have == needed) {
      out += bytes.substr(at, have);
    } else {
      out += kReplacement;
    }
    at += have;
  }
  return out;
}

std::size_t CompletePrefix(std::string_view bytes) {
  const std::size_t tail = std::min<std::size_t>(bytes.size(), 3);
  for (std::size_t back = 1; back <= tail; ++back) {
    const std::size_t at = bytes.size() - back;
    if ((static_cast<unsigned char>(bytes[at]) & 0xC0) == 0x80) continue;
    unsigned needed = 0;
    const std::size_t have = Subpart(bytes, at, &needed);
    return have == back && have < needed ? at : bytes.size();
  }
  return bytes.size();
}

bool IsValid(std::string_view bytes) {
  for (std::size_t at = 0; at < bytes.size();) {
    const Char c = Decode(bytes, at);
    if (c.code_point == kInvalid) return false;
    at += c.length;
  }
  return true;
}

}  // namespace waggle::unicode
