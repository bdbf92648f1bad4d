#include "audit/evidence_file.h"

#include "base/files.h"
#include "base/folders.h"
#include "base/hex.h"
#include "proofs/evidence.h"

namespace waggle {

Result<std::filesystem::path> KeepEvidenceFile(const std::filesystem::path& folder,
                                               std::span<const std::uint8_t> evidence) {
  WG_TRY(MakeFolder(folder));
  const auto path = folder / (ToHex(EvidenceHash(evidence)).substr(0, 16) + ".wglevid");
  WG_TRY(WriteFileAtomic(path, {reinterpret_cast<const char*>(evidence.data()), evidence.size()}));
  return path;
}

}  // namespace waggle
