#include "rollout/encoding.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <string_view>

#include "base/check.h"

namespace waggle {
namespace {

constexpr std::string_view kRecordsMagic = "WGLGRP01";

// The fields of each value, said once for both directions. T is the value or its const.
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, VersionSpan>
void Fields(T& x, V&& v) {
  v(1, "first_token", x.first_token);
  v(2, "version", x.version);
}
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, SamplingConfig>
void Fields(T& x, V&& v) {
  v(1, "temperature", x.temperature);
  v(2, "top_p", x.top_p);
  v(3, "min_p", x.min_p);
  v(4, "top_k", x.top_k);
  v(5, "tokens_max", x.tokens_max);
}
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, Lease>
void Fields(T& x, V&& v) {
  v(1, "id", x.id);
  v.Text(2, "environment", x.environment, kWire.name_bytes_max);
  v(3, "task_seed", x.task_seed);
  v(4, "group_size", x.group_size);
  v(5, "version", x.version);
  v(6, "key_low", x.key[0]);
  v(7, "key_high", x.key[1]);
  v(8, "sampling", x.sampling);
  v(9, "evaluation", x.evaluation);
}
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, Rollout>
void Fields(T& x, V&& v) {
  v.Numbers(1, "tokens", x.tokens, kWire.response_tokens_max);
  v.Numbers(2, "logps", x.logps, kWire.response_tokens_max);
  v.Numbers(3, "loss_mask", x.loss_mask, kWire.response_tokens_max);
  v.Structs(4, "spans", x.spans, kWire.spans_max);
  v(5, "finish", x.finish);
  v(6, "reward", x.reward);
}
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, Group>
void Fields(T& x, V&& v) {
  v(1, "lease", x.lease);
  v.Numbers(2, "prompt", x.prompt, kWire.prompt_tokens_max);
  v.Structs(3, "rollouts", x.rollouts, kWire.group_size_max);
}
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, GroupRecord>
void Fields(T& x, V&& v) {
  v(1, "lease", x.lease);
  v(2, "group", x.group);
}

template <class T>
concept Scalar = std::integral<T> || std::floating_point<T>;

class Writer {
 public:
  explicit Writer(Bytes& out) : out_(out) {}

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
    Check(length <= kWire.message_bytes_max, "what we encode is within the wire limits");
    for (int i = 0; i < 4; ++i) out_[begin - 4 + i] = static_cast<std::uint8_t>(length >> (8 * i));
  }
  template <class T>
  void Value(const T& value) {
    if constexpr (std::is_same_v<T, bool>) {
      out_.push_back(value ? 1 : 0);
    } else if constexpr (std::is_enum_v<T>) {
      Value(static_cast<std::underlying_type_t<T>>(value));
    } else if constexpr (std::floating_point<T>) {
      Value(std::bit_cast<std::uint32_t>(value));
    } else if constexpr (Scalar<T>) {
      const auto bits = static_cast<std::make_unsigned_t<T>>(value);
      for (std::size_t i = 0; i < sizeof(T); ++i)
        out_.push_back(static_cast<std::uint8_t>(bits >> (8 * i)));
    } else if constexpr (requires { value.value; }) {
      Value(value.value);
    } else {
      Fields(value, *this);
    }
  }

  Bytes& out_;
};

// Reads fields until the first error, which it keeps; after that it does nothing.
class Reader {
 public:
  Reader(std::span<const std::uint8_t> bytes, std::size_t offset)
      : bytes_(bytes), offset_(offset) {}

  template <class T>
  void operator()(std::uint8_t number, const char* name, T& value) {
    const auto payload = Field(number, name);
    if (status_) Value(payload, name, value);
  }
  void Text(std::uint8_t number, const char* name, std::string& text, std::size_t limit) {
    const auto payload = Field(number, name);
    if (status_ && payload.size() > limit) Refuse(name, "longer than the limit");
    if (status_) text.assign(payload.begin(), payload.end());
  }
  template <class T>
  void Numbers(std::uint8_t number, const char* name, std::vector<T>& values, std::size_t limit) {
    const auto payload = Field(number, name);
    if (status_ && payload.size() % sizeof(T) != 0) Refuse(name, "cut inside an element");
    if (status_ && payload.size() / sizeof(T) > limit) Refuse(name, "more elements than the limit");
    if (!status_) return;
    values.resize(payload.size() / sizeof(T));
    for (std::size_t i = 0; i < values.size(); ++i)
      Value(payload.subspan(i * sizeof(T), sizeof(T)), name, values[i]);
  }
  template <class T>
  void Structs(std::uint8_t number, const char* name, std::vector<T>& values, std::size_t limit) {
    const auto payload = Field(number, name);
    const std::size_t start = offset_ + at_ - payload.size();
    for (std::size_t at = 0; status_ && at < payload.size();) {
      if (values.size() == limit) return Refuse(name, "more elements than the limit");
      if (payload.size() - at < 4) return Refuse(name, "cut inside an element");
      const std::size_t length = Length(payload.subspan(at, 4));
      at += 4;
      if (length > payload.size() - at) return Refuse(name, "an element runs past the end");
      Nested(payload.subspan(at, length), start + at, values.emplace_back());
      at += length;
    }
  }

  Status Finish() {
    if (status_ && at_ != bytes_.size()) Refuse("end", "bytes are left over");
    return std::move(status_);
  }

  static std::size_t Length(std::span<const std::uint8_t> four) {
    std::size_t length = 0;
    for (int i = 0; i < 4; ++i) length |= std::size_t{four[i]} << (8 * i);
    return length;
  }

 private:
  void Refuse(const char* name, const char* why) {
    status_ = Fail(Blame::kPeer, "field {} at byte {}: {}", name, offset_ + at_, why);
  }
  std::span<const std::uint8_t> Field(std::uint8_t number, const char* name) {
    if (!status_) return {};
    if (bytes_.size() - at_ < 5 || bytes_[at_] != number) {
      Refuse(name, "missing, or out of order");
      return {};
    }
    const std::size_t length = Length(bytes_.subspan(at_ + 1, 4));
    if (length > bytes_.size() - at_ - 5) {
      Refuse(name, "runs past the end");
      return {};
    }
    const auto payload = bytes_.subspan(at_ + 5, length);
    at_ += 5 + length;
    return payload;
  }
  template <class T>
  void Nested(std::span<const std::uint8_t> payload, std::size_t offset, T& value) {
    Reader inner(payload, offset);
    Fields(value, inner);
    status_ = inner.Finish();
  }
  template <class T>
  void Value(std::span<const std::uint8_t> payload, const char* name, T& value) {
    if constexpr (std::is_same_v<T, bool>) {
      std::uint8_t byte = 0;
      Value(payload, name, byte);
      if (byte > 1) Refuse(name, "neither 0 nor 1");
      value = byte == 1;
    } else if constexpr (std::is_same_v<T, FinishReason>) {
      std::uint8_t byte = 0;
      Value(payload, name, byte);
      if (byte > static_cast<std::uint8_t>(FinishReason::kAborted)) Refuse(name, "no such reason");
      value = static_cast<FinishReason>(byte);
    } else if constexpr (std::floating_point<T>) {
      std::uint32_t bits = 0;
      Value(payload, name, bits);
      value = std::bit_cast<float>(bits);
      if (!std::isfinite(value)) Refuse(name, "not a finite number");
    } else if constexpr (Scalar<T>) {
      if (payload.size() != sizeof(T)) return Refuse(name, "wrong length");
      std::make_unsigned_t<T> bits = 0;
      for (std::size_t i = 0; i < sizeof(T); ++i)
        bits |=
            static_cast<std::make_unsigned_t<T>>(std::make_unsigned_t<T>{payload[i]} << (8 * i));
      value = static_cast<T>(bits);
    } else if constexpr (requires { value.value; }) {
      Value(payload, name, value.value);
    } else {
      Nested(payload, offset_ + at_ - payload.size(), value);
    }
  }

  const std::span<const std::uint8_t> bytes_;
  const std::size_t offset_;  // of bytes_ in the whole message
  std::size_t at_ = 0;
  Status status_;
};

template <class T>
Bytes EncodeValue(const T& value) {
  Bytes out;
  Writer writer(out);
  Fields(value, writer);
  return out;
}

template <class T>
Result<T> DecodeValue(std::span<const std::uint8_t> bytes, std::size_t offset = 0) {
  if (bytes.size() > kWire.message_bytes_max)
    return Fail(Blame::kPeer, "{} bytes in one message, limit {}", bytes.size(),
                kWire.message_bytes_max);
  T value;
  Reader reader(bytes, offset);
  Fields(value, reader);
  WG_TRY(reader.Finish());
  return value;
}

}  // namespace

Bytes Encode(const Lease& lease) { return EncodeValue(lease); }
Bytes Encode(const Group& group) { return EncodeValue(group); }
Result<Lease> DecodeLease(std::span<const std::uint8_t> bytes) { return DecodeValue<Lease>(bytes); }
Result<Group> DecodeGroup(std::span<const std::uint8_t> bytes) { return DecodeValue<Group>(bytes); }

Bytes EncodeRecords(std::span<const GroupRecord> records) {
  Bytes out(kRecordsMagic.begin(), kRecordsMagic.end());
  Writer writer(out);
  for (const GroupRecord& record : records) writer.Framed(record);
  return out;
}

Result<std::vector<GroupRecord>> DecodeRecords(std::span<const std::uint8_t> bytes) {
  if (bytes.size() < kRecordsMagic.size() ||
      std::memcmp(bytes.data(), kRecordsMagic.data(), kRecordsMagic.size()) != 0) {
    return Fail(Blame::kPeer, "not a file of rollout groups: it does not begin with {}",
                kRecordsMagic);
  }
  std::vector<GroupRecord> records;
  for (std::size_t at = kRecordsMagic.size(); at < bytes.size();) {
    if (bytes.size() - at < 4)
      return Fail(Blame::kPeer, "record {} at byte {}: cut inside its length", records.size(), at);
    const std::size_t length = Reader::Length(bytes.subspan(at, 4));
    at += 4;
    if (length > bytes.size() - at)
      return Fail(Blame::kPeer, "record {} at byte {}: runs past the end", records.size(), at);
    WG_ASSIGN(GroupRecord record, DecodeValue<GroupRecord>(bytes.subspan(at, length), at));
    records.push_back(std::move(record));
    at += length;
  }
  return records;
}

}  // namespace waggle
