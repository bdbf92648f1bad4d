// The frame of a patch. Everything in here comes from strangers.
#include "policy/leb128.h"
#include "policy/patch.h"
#include "policy/patch_words.h"

namespace waggle {
namespace {

constexpr std::size_t kHeadBytes = 4 + 1 + 32 + 32;

class FrameReader {
 public:
  explicit FrameReader(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}

  std::size_t at() const { return at_; }
  std::size_t left() const { return bytes_.size() - at_; }
  bool ok() const { return status_.has_value(); }
  Status Take() { return std::move(status_); }

  void Refuse(const char* field, const char* why) {
    if (ok()) status_ = Fail(Blame::kPeer, "patch field {} at byte {}: {}", field, at_, why);
  }
  std::span<const std::uint8_t> Raw(const char* field, std::uint64_t size) {
    if (ok() && size > left()) Refuse(field, "runs past the end");
    if (!ok()) return {};
    const auto part = bytes_.subspan(at_, size);
    at_ += size;
    return part;
  }
  std::uint8_t Byte(const char* field) {
    const auto part = Raw(field, 1);
    return ok() ? part[0] : std::uint8_t{0};
  }
  std::uint64_t Number(const char* field) {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < kLeb128BytesMax && ok(); ++i) {
      const std::uint8_t byte = Byte(field);
      if (i == kLeb128BytesMax - 1 && byte > 1) break;  // beyond 64 bits
      value |= std::uint64_t{byte & 0x7fu} << (7 * i);
      if (byte >= 0x80) continue;
      if (byte == 0 && i > 0) Refuse(field, "not the shortest form of a number");
      return value;
    }
    Refuse(field, "a number above 64 bits");
    return 0;
  }

 private:
  const std::span<const std::uint8_t> bytes_;
  std::size_t at_ = 0;
  Status status_;
};

// The form as the model has it; the one in the patch must say the same.
void ReadForm(FrameReader& in, PatchTensor& tensor, const ImageForm& form) {
  const auto name = in.Raw("name", in.Number("name length"));
  tensor.name = {reinterpret_cast<const char*>(name.data()), name.size()};
  if (!in.ok()) return;
  const auto known = form.find(tensor.name);
  if (known == form.end()) return in.Refuse("name", "the model has no such tensor");
  tensor.form = known->second;
  if (in.Byte("dtype") != static_cast<std::uint8_t>(tensor.form.dtype))
    return in.Refuse("dtype", "not the number format of this tensor");
  if (in.Byte("rank") != tensor.form.shape.size())
    return in.Refuse("rank", "not the shape of this tensor");
  for (const std::uint64_t extent : tensor.form.shape)
    if (in.Number("extent") != extent) return in.Refuse("extent", "not the shape of this tensor");
}

// Smallest sizes of what `changed` entries need: one bit and k for a gap, two bits for a step.
void CheckSizes(FrameReader& in, const PatchTensor& tensor) {
  const std::uint64_t elements = tensor.form.elements(), width = BytesOf(tensor.form.dtype);
  if (tensor.mode == PatchMode::kDense) {
    if (tensor.changed != elements) return in.Refuse("changed", "dense, and not every weight");
    if (tensor.rice != 0 || !tensor.gaps.empty()) return in.Refuse("gaps", "dense, and has some");
    if (tensor.payload.size() != elements * width)
      in.Refuse("payload", "not the size of this tensor");
    return;
  }
  if (tensor.changed == 0 || tensor.changed > elements)
    return in.Refuse("changed", "none, or more weights than the tensor has");
  if (tensor.rice > kRiceMax) return in.Refuse("k", "above 20");
  if (tensor.gaps.size() < (tensor.changed * (tensor.rice + 1) + 7) / 8)
    return in.Refuse("gaps", "fewer bits than so many entries need");
  if (tensor.mode == PatchMode::kReplace && tensor.payload.size() != tensor.changed * width)
    return in.Refuse("payload", "not one value for each entry");
  if (tensor.mode == PatchMode::kSteps && tensor.payload.size() < (tensor.changed * 2 + 7) / 8)
    in.Refuse("payload", "fewer bits than so many steps need");
}

void ReadTensor(FrameReader& in, PatchTensor& tensor, const ImageForm& form) {
  ReadForm(in, tensor, form);
  const auto mode = static_cast<PatchMode>(in.Byte("mode"));
  if (!IsKnown(mode)) in.Refuse("mode", "no such mode");
  tensor.mode = mode;
  tensor.changed = in.Number("changed");
  tensor.rice = in.Byte("k");
  const std::uint64_t gap_bytes = in.Number("gaps length");
  tensor.gaps_at = in.at();
  tensor.gaps = in.Raw("gaps", gap_bytes);
  const std::uint64_t payload_bytes = in.Number("payload length");
  tensor.payload_at = in.at();
  tensor.payload = in.Raw("payload", payload_bytes);
  if (in.ok()) CheckSizes(in, tensor);
}

}  // namespace

Result<PatchView> ReadPatch(std::span<const std::uint8_t> patch, const ImageForm& form) {
  WG_TRY(CheckForm(form));
  if (patch.size() < kHeadBytes || std::memcmp(patch.data(), "WPT1", 4) != 0)
    return Fail(Blame::kPeer, "not a policy patch: {} bytes that do not begin as WPT1",
                patch.size());
  FrameReader in(patch);
  in.Raw("magic", 4);
  if (in.Byte("flags") != 0) in.Refuse("flags", "unknown, this version knows none");
  PatchView view;
  std::ranges::copy(in.Raw("base root", 32), view.base_root.begin());
  std::ranges::copy(in.Raw("new root", 32), view.new_root.begin());
  const std::uint64_t count = in.Number("tensors");
  if (count > form.size()) in.Refuse("tensors", "more than the model has");
  for (std::uint64_t i = 0; i < count && in.ok(); ++i) {
    PatchTensor& tensor = view.tensors.emplace_back();
    const std::size_t begin = in.at();
    ReadTensor(in, tensor, form);
    if (in.ok() && i > 0 && view.tensors[i - 1].name >= tensor.name) {
      return Fail(Blame::kPeer,
                  "patch field name at byte {}: tensor {} twice, or names are not ascending", begin,
                  tensor.name);
    }
  }
  if (in.ok() && in.left() > 0) in.Refuse("end", "bytes are left over");
  WG_TRY(in.Take());
  return view;
}

}  // namespace waggle
