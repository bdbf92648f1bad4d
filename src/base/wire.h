// The one encoding of structs as bytes, for everything that is stored, hashed, signed or sent.
//
// A value is its fields in ascending number, every field present:
//   number u8 | length u32 LE | payload
// Integers and floats are little endian, enums and bools one byte, byte arrays as they are, vectors
// their elements end to end, lists of structs or texts length-prefixed (u32 LE), an absent optional
// an empty payload, structs nest. Fields are append only: a number is never reused. Unknown,
// missing, repeated or disordered fields, wrong lengths, unknown enum values, floats that are not
// finite (NaN payloads differ between machines) and lists past their limit are refused. So one
// value has one sequence of bytes, both ways. A last field that came to a struct whose bytes were
// signed before stands only where it holds something (BlobsIfAny, IfAny).
//
// A type T is encodable when its namespace has
//   template <class T, class V> requires std::same_as<std::remove_const_t<T>, X>
//   void Fields(T& x, V&& v) { v(1, "name", x.name); v.Text(2, "text", x.text, limit); ... }
// and an enum E when its namespace has  bool IsKnown(E).  Said once for both directions.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "base/check.h"
#include "base/result.h"

namespace waggle {

using Bytes = std::vector<std::uint8_t>;

enum class WireProblem : std::uint8_t {
  kNone,
  kTruncated,  // a beginning of something: the bytes stop too early
  kOversized,  // past a stated limit
  kMalformed,  // anything else
};

struct WireError {
  WireProblem problem = WireProblem::kMalformed;
  std::string what;  // names field and offset
};

namespace wire_internal {

template <class T>
inline constexpr bool kIsByteArray = false;
template <std::size_t N>
inline constexpr bool kIsByteArray<std::array<std::uint8_t, N>> = true;
template <class T>
inline constexpr bool kIsOptional = false;
template <class T>
inline constexpr bool kIsOptional<std::optional<T>> = true;
template <class T>
concept Scalar = std::integral<T> || std::floating_point<T>;

}  // namespace wire_internal

// The u32 LE that stands before a frame.
inline std::size_t WireLength(std::span<const std::uint8_t, 4> four) {
  std::size_t length = 0;
  for (int i = 0; i < 4; ++i) length |= std::size_t{four[i]} << (8 * i);
  return length;
}

// Appends to `out`. No field may exceed bytes_max: what we write is our own doing.
class WireWriter {
 public:
  WireWriter(Bytes& out, std::size_t bytes_max) : out_(out), bytes_max_(bytes_max) {}

  template <class T>
  void operator()(std::uint8_t number, const char*, const T& value) {
    const std::size_t begin = Begin(number);
    Value(value);
    End(begin);
  }
  void Text(std::uint8_t number, const char*, const std::string& text, std::size_t) {
    const std::size_t begin = Begin(number);
    out_.insert(out_.end(), text.begin(), text.end());
    End(begin);
  }
  void Texts(std::uint8_t number, const char*, const std::vector<std::string>& texts, std::size_t,
             std::size_t) {
    const std::size_t begin = Begin(number);
    for (const std::string& text : texts) {
      Value(static_cast<std::uint32_t>(text.size()));
      out_.insert(out_.end(), text.begin(), text.end());
    }
    End(begin);
  }
  // Byte strings of any length.
  void Blobs(std::uint8_t number, const char*, const std::vector<Bytes>& blobs, std::size_t,
             std::size_t) {
    const std::size_t begin = Begin(number);
    for (const Bytes& blob : blobs) {
      Value(static_cast<std::uint32_t>(blob.size()));
      out_.insert(out_.end(), blob.begin(), blob.end());
    }
    End(begin);
  }
  // The last field of its struct, left out where there are none.
  void BlobsIfAny(std::uint8_t number, const char* name, const std::vector<Bytes>& blobs,
                  std::size_t count_max, std::size_t bytes_max) {
    if (!blobs.empty()) Blobs(number, name, blobs, count_max, bytes_max);
  }
  // The same of an optional.
  template <class T>
  void IfAny(std::uint8_t number, const char* name, const std::optional<T>& value) {
    if (value) (*this)(number, name, *value);
  }
  template <class T>
  void Numbers(std::uint8_t number, const char*, const std::vector<T>& values, std::size_t) {
    const std::size_t begin = Begin(number);
    for (const T value : values) Value(value);
    End(begin);
  }
  template <class T>
  void Structs(std::uint8_t number, const char*, const std::vector<T>& values, std::size_t) {
    const std::size_t begin = Begin(number);
    for (const T& value : values) Framed(value);
    End(begin);
  }
  // Length, then the value: how a struct stands in a list.
  template <class T>
  void Framed(const T& value) {
    const std::size_t begin = out_.size();
    Value(std::uint32_t{0});
    Fields(value, *this);
    End(begin + 4);
  }

 private:
  std::size_t Begin(std::uint8_t number) {
    out_.push_back(number);
    Value(std::uint32_t{0});
    return out_.size();
  }
  void End(std::size_t begin) {
    const std::size_t length = out_.size() - begin;
    Check(length <= bytes_max_, "what we encode is within the wire limits");
    for (int i = 0; i < 4; ++i) out_[begin - 4 + i] = static_cast<std::uint8_t>(length >> (8 * i));
  }
  template <class T>
  void Value(const T& value) {
    if constexpr (std::is_same_v<T, bool>) {
      out_.push_back(value ? 1 : 0);
    } else if constexpr (std::is_enum_v<T>) {
      Value(static_cast<std::underlying_type_t<T>>(value));
    } else if constexpr (std::floating_point<T>) {
      static_assert(sizeof(T) == 4);
      Value(std::bit_cast<std::uint32_t>(value));
    } else if constexpr (wire_internal::Scalar<T>) {
      const auto bits = static_cast<std::make_unsigned_t<T>>(value);
      for (std::size_t i = 0; i < sizeof(T); ++i)
        out_.push_back(static_cast<std::uint8_t>(bits >> (8 * i)));
    } else if constexpr (wire_internal::kIsByteArray<T>) {
      out_.insert(out_.end(), value.begin(), value.end());
    } else if constexpr (wire_internal::kIsOptional<T>) {
      if (value) Value(*value);
    } else if constexpr (requires { value.value; }) {
      Value(value.value);
    } else {
      Fields(value, *this);
    }
  }

  Bytes& out_;
  const std::size_t bytes_max_;
};

// Reads fields until the first error, which it keeps; after that it does nothing. Borrows `bytes`;
// `offset` is where they stand in the whole message, for error texts.
class WireReader {
 public:
  explicit WireReader(std::span<const std::uint8_t> bytes, std::size_t offset = 0)
      : bytes_(bytes), offset_(offset) {}

  template <class T>
  void operator()(std::uint8_t number, const char* name, T& value) {
    const auto payload = Field(number, name);
    if (ok()) Value(payload, name, value);
  }
  void Text(std::uint8_t number, const char* name, std::string& text, std::size_t limit) {
    const auto payload = Field(number, name);
    if (ok() && payload.size() > limit) Oversized(name, "longer than the limit");
    if (ok()) text.assign(payload.begin(), payload.end());
  }
  void Texts(std::uint8_t number, const char* name, std::vector<std::string>& texts,
             std::size_t count_max, std::size_t bytes_max) {
    EachFramed(number, name, count_max, texts, [&](auto element, std::size_t, std::string& text) {
      if (element.size() > bytes_max) return Oversized(name, "longer than the limit");
      text.assign(element.begin(), element.end());
    });
  }
  void Blobs(std::uint8_t number, const char* name, std::vector<Bytes>& blobs,
             std::size_t count_max, std::size_t bytes_max) {
    EachFramed(number, name, count_max, blobs, [&](auto element, std::size_t, Bytes& blob) {
      if (element.size() > bytes_max) return Oversized(name, "longer than the limit");
      blob.assign(element.begin(), element.end());
    });
  }
  void BlobsIfAny(std::uint8_t number, const char* name, std::vector<Bytes>& blobs,
                  std::size_t count_max, std::size_t bytes_max) {
    if (!ok() || at_ == bytes_.size() || bytes_[at_] != number) return;
    Blobs(number, name, blobs, count_max, bytes_max);
    if (ok() && blobs.empty()) Malformed(name, "stands there, and holds nothing");
  }
  template <class T>
  void IfAny(std::uint8_t number, const char* name, std::optional<T>& value) {
    if (ok() && at_ < bytes_.size() && bytes_[at_] == number)
      (*this)(number, name, value.emplace());
  }
  template <class T>
  void Numbers(std::uint8_t number, const char* name, std::vector<T>& values, std::size_t limit) {
    const auto payload = Field(number, name);
    if (ok() && payload.size() % sizeof(T) != 0) Malformed(name, "cut inside an element");
    if (ok() && payload.size() / sizeof(T) > limit) Oversized(name, "more elements than the limit");
    if (!ok()) return;
    values.resize(payload.size() / sizeof(T));
    for (std::size_t i = 0; i < values.size(); ++i)
      Value(payload.subspan(i * sizeof(T), sizeof(T)), name, values[i]);
  }
  template <class T>
  void Structs(std::uint8_t number, const char* name, std::vector<T>& values, std::size_t limit) {
    EachFramed(number, name, limit, values,
               [&](auto element, std::size_t at, T& value) { Nested(element, at, value); });
  }

  bool ok() const { return error_.problem == WireProblem::kNone; }
  WireError Finish() {
    if (ok() && at_ != bytes_.size()) Malformed("end", "bytes are left over");
    return std::move(error_);
  }

 private:
  void Refuse(WireProblem problem, const char* name, const char* why) {
    error_ = {problem, fmt::format("field {} at byte {}: {}", name, offset_ + at_, why)};
  }
  void Truncated(const char* name, const char* why) { Refuse(WireProblem::kTruncated, name, why); }
  void Oversized(const char* name, const char* why) { Refuse(WireProblem::kOversized, name, why); }
  void Malformed(const char* name, const char* why) { Refuse(WireProblem::kMalformed, name, why); }

  std::span<const std::uint8_t> Field(std::uint8_t number, const char* name) {
    if (!ok()) return {};
    if (at_ < bytes_.size() && bytes_[at_] != number) {
      Malformed(name, "missing, or out of order");
      return {};
    }
    if (bytes_.size() - at_ < 5) {
      Truncated(name, "missing, or out of order");
      return {};
    }
    const std::size_t length = WireLength(bytes_.subspan(at_ + 1).first<4>());
    if (length > bytes_.size() - at_ - 5) {
      Truncated(name, "runs past the end");
      return {};
    }
    const auto payload = bytes_.subspan(at_ + 5, length);
    at_ += 5 + length;
    return payload;
  }
  template <class T, class Read>
  void EachFramed(std::uint8_t number, const char* name, std::size_t limit, std::vector<T>& values,
                  Read&& read) {
    const auto payload = Field(number, name);
    const std::size_t start = offset_ + at_ - payload.size();
    for (std::size_t at = 0; ok() && at < payload.size();) {
      if (values.size() == limit) return Oversized(name, "more elements than the limit");
      if (payload.size() - at < 4) return Malformed(name, "cut inside an element");
      const std::size_t length = WireLength(payload.subspan(at).first<4>());
      at += 4;
      if (length > payload.size() - at) return Malformed(name, "an element runs past the end");
      read(payload.subspan(at, length), start + at, values.emplace_back());
      at += length;
    }
  }
  template <class T>
  void Nested(std::span<const std::uint8_t> payload, std::size_t offset, T& value) {
    WireReader inner(payload, offset);
    Fields(value, inner);
    error_ = inner.Finish();
    // The frame around it is whole, so a short inside was made that way.
    if (error_.problem == WireProblem::kTruncated) error_.problem = WireProblem::kMalformed;
  }
  template <class T>
  void Value(std::span<const std::uint8_t> payload, const char* name, T& value) {
    if constexpr (std::is_same_v<T, bool>) {
      std::uint8_t byte = 0;
      Value(payload, name, byte);
      if (byte > 1) Malformed(name, "neither 0 nor 1");
      value = byte == 1;
    } else if constexpr (std::is_enum_v<T>) {
      std::underlying_type_t<T> number = 0;
      Value(payload, name, number);
      if (ok() && !IsKnown(static_cast<T>(number))) Malformed(name, "no such value");
      if (ok()) value = static_cast<T>(number);
    } else if constexpr (std::floating_point<T>) {
      std::uint32_t bits = 0;
      Value(payload, name, bits);
      value = std::bit_cast<float>(bits);
      if (!std::isfinite(value)) Malformed(name, "not a finite number");
    } else if constexpr (wire_internal::Scalar<T>) {
      if (payload.size() != sizeof(T)) return Malformed(name, "wrong length");
      std::make_unsigned_t<T> bits = 0;
      for (std::size_t i = 0; i < sizeof(T); ++i)
        bits |=
            static_cast<std::make_unsigned_t<T>>(std::make_unsigned_t<T>{payload[i]} << (8 * i));
      value = static_cast<T>(bits);
    } else if constexpr (wire_internal::kIsByteArray<T>) {
      if (payload.size() != value.size()) return Malformed(name, "wrong length");
      std::copy(payload.begin(), payload.end(), value.begin());
    } else if constexpr (wire_internal::kIsOptional<T>) {
      value.reset();
      if (!payload.empty()) Value(payload, name, value.emplace());
    } else if constexpr (requires { value.value; }) {
      Value(payload, name, value.value);
    } else {
      Nested(payload, offset_ + at_ - payload.size(), value);
    }
  }

  const std::span<const std::uint8_t> bytes_;
  const std::size_t offset_;
  std::size_t at_ = 0;
  WireError error_{WireProblem::kNone, {}};
};

template <class T>
Bytes WireEncode(const T& value, std::size_t bytes_max) {
  Bytes out;
  WireWriter writer(out, bytes_max);
  Fields(value, writer);
  return out;
}

template <class T>
tl::expected<T, WireError> WireDecode(std::span<const std::uint8_t> bytes, std::size_t bytes_max,
                                      std::size_t offset = 0) {
  if (bytes.size() > bytes_max) {
    return tl::unexpected(
        WireError{WireProblem::kOversized,
                  fmt::format("{} bytes in one message, limit {}", bytes.size(), bytes_max)});
  }
  T value;
  WireReader reader(bytes, offset);
  Fields(value, reader);
  WireError error = reader.Finish();
  if (error.problem != WireProblem::kNone) return tl::unexpected(std::move(error));
  return value;
}

}  // namespace waggle
