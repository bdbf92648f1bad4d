// Included once at the end of a canonical file, inside `#if HWY_ONCE`, with WG_FILL naming its Fill
// function: passes on to Fill(ops) of the namespace of the asked target.
namespace waggle::canonical {
void WG_FILL([[maybe_unused]] Target target, [[maybe_unused]] Ops& ops) {
#if HWY_TARGETS & HWY_AVX2
  if (target == Target::kAvx2) N_AVX2::Fill(ops);
#endif
#if HWY_TARGETS & HWY_AVX3
  if (target == Target::kAvx512) N_AVX3::Fill(ops);
#endif
#if HWY_TARGETS & HWY_NEON
  if (target == Target::kNeon) N_NEON::Fill(ops);
#endif
}
}  // namespace waggle::canonical
