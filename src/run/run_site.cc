#include "run/run_site.h"

namespace waggle {

Result<Bytes> FetchDescription(NodeClient& client, const Hash256& run) {
  Bytes bytes;
  const auto sink = [&](std::uint64_t, std::span<const std::byte> data) -> Status {
    const auto* begin = reinterpret_cast<const std::uint8_t*>(data.data());
    bytes.insert(bytes.end(), begin, begin + data.size());
    return {};
  };
  const auto fetched = client.FetchBlob(run, 0, kDescriptionBytesMax, sink);
  if (!fetched) return Forward(fetched.error().error);
  return bytes;
}

Result<std::unique_ptr<RunSite>> MakeRunSite(std::span<const std::uint8_t> bytes,
                                             const Hash256& run) {
  WG_ASSIGN(RunDescription description, DecodeDescription(bytes, run));
  auto site = std::make_unique<RunSite>(RunSite{std::move(description), nullptr, {}, std::nullopt});
  const RunDescription& d = site->description;
  WG_ASSIGN(site->environment, MakeEnvironment(d.recipe.environment, {}));
  WG_ASSIGN(site->numerics, NumericsOf(d.recipe.model));
  WG_ASSIGN(auto suffix, PromptSuffix(d.recipe, d.tokenizer));
  site->codec.emplace(*site->environment, d.tokenizer, d.model.eos, std::move(suffix));
  return site;
}

Result<std::unique_ptr<RunSite>> FetchRunSite(NodeClient& client, const Hash256& run) {
  WG_ASSIGN(const Bytes description, FetchDescription(client, run));
  return MakeRunSite(description, run);
}

}  // namespace waggle
