// Bugs planted at the simulator's seams, to see that its invariants find them. They live in the
// simulator's drivers alone: nothing of the program knows them.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace waggle {

enum class Plant : std::uint8_t {
  kNone,
  kAckBeforeStore,
  kForgetLinkClosed,
  kSkipRoot,
  kLoseFrames,
  kForgetDrain,
  kWallClock,
  kReadTorn,
  kCountTwice,
  kForgetGroups,
  kArrivalOrder,
};

struct PlantDoc {
  Plant plant;
  const char* name;
  const char* what;
};
inline constexpr PlantDoc kPlants[] = {
    {Plant::kAckBeforeStore, "ack-before-store", "the host tells a worker before it is on disk"},
    {Plant::kForgetLinkClosed, "forget-link-closed", "the core is not told that a link ended"},
    {Plant::kSkipRoot, "skip-root", "a worker samples from weights it did not verify"},
    {Plant::kLoseFrames, "lose-frames", "the transport loses a frame and the link goes on"},
    {Plant::kForgetDrain, "forget-drain", "nobody is told that the run is over"},
    {Plant::kWallClock, "wall-clock", "the host's driver hands in the wall clock"},
    {Plant::kReadTorn, "read-torn", "a host starts from half a checkpoint"},
    {Plant::kCountTwice, "count-twice", "an outcome is kept twice"},
    {Plant::kForgetGroups, "forget-groups", "a host that comes back does not read what it kept"},
    {Plant::kArrivalOrder, "arrival-order", "a batch is trained on in the order of arrival"},
};

inline std::optional<Plant> FindPlant(std::string_view name) {
  for (const PlantDoc& doc : kPlants) {
    if (name == doc.name) return doc.plant;
  }
  return std::nullopt;
}

}  // namespace waggle
