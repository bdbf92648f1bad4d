// What a trainer's state on disk consists of, so that it can travel in pieces: the files of a
// checkpoint's trainer/ folder and the SHA-256 of every chunk. Small enough to be named by its own
// hash. Whether it is the state that a trainer signed shows when it is loaded (Trainer::StateHash);
// nothing here has to be believed.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/wire.h"
#include "crypto/hash.h"
#include "rollout/rollout.h"

namespace waggle {

inline constexpr std::size_t kStateChunkBytes = std::size_t{4} << 20;
inline constexpr std::size_t kStateFilesMax = 32;
// Files of a run's teacher travel beside a state; their names begin so.
inline constexpr std::string_view kTeacherFile = "teacher.";
inline constexpr std::size_t kListingBytesMax = std::size_t{8} << 20;  // a terabyte of chunks

struct StateFile {
  std::string name;  // [a-z0-9_.], no dot in front
  std::uint64_t bytes = 0;
  std::vector<Digest256> chunks;  // of kStateChunkBytes, but for the last
  bool operator==(const StateFile&) const = default;
};

struct StateListing {
  Hash256 run{};
  PolicyVersion version;
  std::vector<StateFile> files;  // names ascend
  bool operator==(const StateListing&) const = default;

  std::uint64_t bytes() const;
};

Bytes Encode(const StateListing& listing);
// Blame::kPeer: malformed, names that are none, sizes that the chunks do not have, or more than
// bytes_max in all.
Result<StateListing> DecodeListing(std::span<const std::uint8_t> bytes, std::uint64_t bytes_max);

// Of a folder as Trainer::SaveCheckpoint left it. Reads all of it. teacher: of ListTeacher, if the
// run has one.
Result<StateListing> ListState(const std::filesystem::path& folder, const Hash256& run,
                               PolicyVersion version, std::vector<StateFile> teacher = {});
// Of a teacher's model directory; empty where there is none. Reads all of it.
Result<std::vector<StateFile>> ListTeacher(const std::filesystem::path& folder);

}  // namespace waggle
