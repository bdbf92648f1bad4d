// Element access to one key/value page (layout in ops.h): for references, tests and tails.
#pragma once

#include <cstring>

#include "kernels/math.h"
#include "kernels/ops.h"

namespace waggle {

inline std::size_t KvValueBytes(KvFormat format) { return format == KvFormat::kF32 ? 4 : 2; }

// One kv head of a page. The caller keeps the page alive.
class KvPage {
 public:
  KvPage(const std::byte* page, std::size_t kv_head, std::size_t head_dim, KvFormat format)
      : data_(page + kv_head * 2 * head_dim * kPageTokens * KvValueBytes(format)),
        head_dim_(head_dim),
        format_(format) {}

  float K(std::size_t c, std::size_t slot) const { return At(c * kPageTokens + slot); }
  float V(std::size_t slot, std::size_t c) const {
    return At(head_dim_ * kPageTokens + slot * head_dim_ + c);
  }

 private:
  float At(std::size_t i) const {
    if (format_ == KvFormat::kF32) {
      float value;
      std::memcpy(&value, data_ + i * 4, 4);
      return value;
    }
    std::uint16_t value;
    std::memcpy(&value, data_ + i * 2, 2);
    return FloatFromBf16(value);
  }

  const std::byte* data_;
  std::size_t head_dim_;
  KvFormat format_;
};

class KvPageWriter {
 public:
  KvPageWriter(std::byte* page, std::size_t kv_head, std::size_t head_dim, KvFormat format)
      : data_(page + kv_head * 2 * head_dim * kPageTokens * KvValueBytes(format)),
        head_dim_(head_dim),
        format_(format) {}

  void SetK(std::size_t c, std::size_t slot, float value) const {
    Set(c * kPageTokens + slot, value);
  }
  void SetV(std::size_t slot, std::size_t c, float value) const {
    Set(head_dim_ * kPageTokens + slot * head_dim_ + c, value);
  }

 private:
  void Set(std::size_t i, float value) const {
    if (format_ == KvFormat::kF32) {
      std::memcpy(data_ + i * 4, &value, 4);
    } else {
      const std::uint16_t rounded = Bf16FromFloat(value);
      std::memcpy(data_ + i * 2, &rounded, 2);
    }
  }

  std::byte* data_;
  std::size_t head_dim_;
  KvFormat format_;
};

}  // namespace waggle
