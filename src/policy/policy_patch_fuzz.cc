// Arbitrary bytes as a patch: refused, or exactly what its roots promise; and never more memory
// than the model has.
#include "base/check.h"
#include "policy/patch.h"
#include "policy/test_images.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace waggle;
  static ThreadPool pool(1);
  static const PolicyImage base = RandomImage(SomeForm(), 1);
  static const ImageForm form = base.Form();
  const std::span<const std::uint8_t> input(data, size);
  const auto view = ReadPatch(input, form);
  if (!view) {
    Check(view.error().blame == Blame::kPeer, "a malformed patch is its sender's");
    return 0;
  }
  for (const BaseCheck check : {BaseCheck::kExact, BaseCheck::kRepair})
    if (const auto next = ApplyPatch(base, input, pool, check))
      Check(next->root() == view->new_root, "what is applied has the promised root");
  if (const auto image = ApplySnapshot(form, input, pool))
    Check(EncodeSnapshot(*image) == Bytes(input.begin(), input.end()), "one policy, one snapshot");
  // After nothing comes the same patch, byte for byte: frames have one encoding.
  Bytes nothing;
  PutPatchHead(nothing, view->new_root, view->new_root, 0);
  if (const auto same = ComposePatches(input, nothing, form))
    Check(*same == Bytes(input.begin(), input.end()), "one patch, one encoding");
  // With itself, as if it led back to where it began: its own root chain is not looked at here.
  Bytes again(input.begin(), input.end());
  std::copy(view->new_root.begin(), view->new_root.end(), again.begin() + 5);
  if (const auto twice = ComposePatches(input, again, form))
    Check(ReadPatch(*twice, form).has_value(), "what we compose reads back");
  return 0;
}
