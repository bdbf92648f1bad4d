// Shared by the files of the patch codec: the order of number formats, and lists of changed weights
// as they stand in a patch.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "policy/bit_stream.h"
#include "policy/patch.h"

namespace waggle {

inline constexpr unsigned kRiceMax = 20;

// Numbers of one format in ascending order, as consecutive integers: neighbours differ by 1, -0 is
// -1, NaNs lie beyond the infinities. Word: the bits, 16 or 32 of them.
template <class Word>
inline constexpr Word kSignBit = Word(Word{1} << (8 * sizeof(Word) - 1));
template <class Word>
constexpr std::int64_t Rank(Word bits) {
  return bits < kSignBit<Word> ? std::int64_t{bits}
                               : -1 - static_cast<std::int64_t>(bits & (kSignBit<Word> - 1));
}
template <class Word>
constexpr bool IsRank(std::int64_t rank) {
  return rank >= -std::int64_t{kSignBit<Word>} && rank < std::int64_t{kSignBit<Word>};
}
template <class Word>
constexpr Word FromRank(std::int64_t rank) {
  return rank >= 0 ? static_cast<Word>(rank)
                   : static_cast<Word>(kSignBit<Word> | static_cast<Word>(-1 - rank));
}

// Calls f(Word{}) with the word of the format.
template <class F>
auto WithWord(WireDtype dtype, F&& f) {
  if (dtype == WireDtype::kF32) return f(std::uint32_t{});
  return f(std::uint16_t{});
}

template <class Word>
Word LoadWord(const std::uint8_t* bits, std::uint64_t index) {
  Word word;
  std::memcpy(&word, bits + index * sizeof(Word), sizeof(Word));
  return word;
}
template <class Word>
void StoreWord(std::uint8_t* bits, std::uint64_t index, Word word) {
  std::memcpy(bits + index * sizeof(Word), &word, sizeof(Word));
}

// Reads the changed weights of one tensor of mode kSteps or kReplace in ascending order.
template <class Word>
class EntryReader {
 public:
  explicit EntryReader(const PatchTensor& tensor)
      : tensor_(tensor),
        steps_mode_(tensor.mode == PatchMode::kSteps),
        elements_(tensor.form.elements()),
        gaps_(tensor.gaps),
        steps_(tensor.payload) {}

  // False at the end and at the first error; Finish() tells which.
  bool Next() {
    if (read_ == tensor_.changed || problem_ != nullptr) return false;
    const std::uint64_t gap = Gap();
    if (gap >= elements_ - next_) return Refuse("gaps", "an index past the end of the tensor");
    index_ = next_ + gap;
    next_ = index_ + 1;
    if (!steps_mode_) {
      value_ = LoadWord<Word>(tensor_.payload.data(), read_);
    } else if (!ReadStep()) {
      return Refuse("steps", "longer than any step of this number format, or cut");
    }
    ++read_;
    return true;
  }
  std::uint64_t index() const { return index_; }
  std::int64_t step() const { return step_; }  // kSteps
  Word value() const { return value_; }        // kReplace

  // What weight `index()` becomes; nothing if the step leads out of the number format.
  std::optional<Word> Apply(Word old) {
    if (!steps_mode_) return value_;
    const std::int64_t rank = Rank(old) + step_;
    if (IsRank<Word>(rank)) [[likely]]
      return FromRank<Word>(rank);
    Refuse("steps", "a step leads out of the number format");
    return std::nullopt;
  }

  Status Finish() const {
    if (problem_ == nullptr && !gaps_.AtEnd()) return Failure("gaps", "cut, or bits are left over");
    if (problem_ == nullptr && steps_mode_ && !steps_.AtEnd())
      return Failure("steps", "cut, or bits are left over");
    if (problem_ != nullptr) return Failure(field_, problem_);
    return {};
  }

 private:
  bool Refuse(const char* field, const char* problem) {
    field_ = field;
    problem_ = problem;
    return false;
  }
  Status Failure(std::string_view field, const char* problem) const {
    const std::size_t at = field == "gaps" ? tensor_.gaps_at : tensor_.payload_at;
    return Fail(Blame::kPeer, "tensor {}: field {} at byte {}, entry {}: {}", tensor_.name, field,
                at, read_, problem);
  }
  std::uint64_t Gap() {
    const unsigned k = tensor_.rice;
    const std::uint64_t window = gaps_.Window();
    const auto ones = static_cast<unsigned>(std::countl_one(window));
    if (ones + 1 + k <= 57) [[likely]] {
      gaps_.Skip(ones + 1 + k);
      // Two shifts: k may be 0.
      return (std::uint64_t{ones} << k) | ((window << ones << 1) >> 1 >> (63 - k));
    }
    const std::uint64_t quotient = gaps_.Unary();
    const std::uint64_t low = gaps_.Window() >> 1 >> (63 - k);
    gaps_.Skip(k);
    return (quotient << k) | low;
  }
  bool ReadStep() {
    const std::uint64_t window = steps_.Window();
    const bool negative = (window >> 63) != 0;
    const auto zeros = static_cast<unsigned>(std::countl_zero(window << 1));
    // A step of W bits is at most 2^W - 1.
    constexpr unsigned kZerosMax = sizeof(Word) == 2 ? 16 : 31;
    if (zeros > kZerosMax) return false;
    steps_.Skip(1 + zeros);
    const std::uint64_t size =
        (sizeof(Word) == 2 ? window << 1 << zeros : steps_.Window()) >> (63 - zeros);
    steps_.Skip(1 + zeros);
    step_ = negative ? -static_cast<std::int64_t>(size) : static_cast<std::int64_t>(size);
    return true;
  }

  const PatchTensor& tensor_;
  const bool steps_mode_;
  const std::uint64_t elements_;
  BitReader gaps_, steps_;
  std::uint64_t read_ = 0, next_ = 0, index_ = 0;
  std::int64_t step_ = 0;
  Word value_ = 0;
  const char* field_ = nullptr;
  const char* problem_ = nullptr;
};

// Collects the changed weights of one tensor in ascending order, and writes its record.
class EntryWriter {
 public:
  // Room for this many more entries: the Add functions do not look.
  void Reserve(std::size_t entries) {
    if (gaps_used_ + entries > gaps_.size())
      gaps_.resize(std::max(gaps_used_ + entries, 2 * gaps_.size()));
    steps_.Reserve(entries * 64);
  }
  // step != 0, |step| < 2^32.
  void AddStep(std::uint64_t index, std::int64_t step) {
    AddGap(index);
    const auto size = static_cast<std::uint64_t>(step < 0 ? -step : step);
    const auto bits = static_cast<unsigned>(std::bit_width(size));
    steps_.Put((std::uint64_t{step < 0} << (2 * bits - 1)) | size, 2 * bits);
  }
  template <class Word>
  void AddValue(std::uint64_t index, Word value) {
    AddGap(index);
    values_.resize(gaps_used_ * sizeof(Word));
    StoreWord(values_.data(), gaps_used_ - 1, value);
  }
  std::size_t size() const { return gaps_used_; }
  // At least so many bits will the record need.
  std::uint64_t BitsMin() const { return gaps_used_ + steps_.bits() + 8 * values_.size(); }

  // Appends the record; REQUIRES entries of the one kind that `mode` says.
  void PutRecord(Bytes& out, std::string_view name, const TensorForm& form, PatchMode mode);

 private:
  void AddGap(std::uint64_t index) {
    gaps_[gaps_used_++] = static_cast<std::uint32_t>(index - next_);
    next_ = index + 1;
  }

  std::vector<std::uint32_t> gaps_;
  std::size_t gaps_used_ = 0;
  std::uint64_t next_ = 0;
  BitWriter steps_;
  Bytes values_;
};

// The k of 0..kRiceMax that makes these gaps shortest, the smallest of equals; and their bits.
struct RiceChoice {
  unsigned k = 0;
  std::uint64_t bits = 0;
};
RiceChoice ChooseRice(std::span<const std::uint32_t> gaps);

// "WPT1" and everything up to the first record.
void PutPatchHead(Bytes& out, const Digest256& base_root, const Digest256& new_root,
                  std::uint64_t tensors);
// Frame of a record up to its payload, which must follow.
void PutRecordHead(Bytes& out, std::string_view name, const TensorForm& form, PatchMode mode,
                   std::uint64_t changed, unsigned rice, std::span<const std::uint8_t> gaps,
                   std::uint64_t payload_bytes);
void PutDense(Bytes& out, std::string_view name, const TensorForm& form,
              std::span<const std::uint8_t> bits);

}  // namespace waggle
