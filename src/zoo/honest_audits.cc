#include "zoo/honest_audits.h"

#include <array>
#include <memory>

namespace waggle {
namespace {

constexpr std::uint32_t kTogether = 5;  // leases that a worker holds at once
constexpr std::size_t kSmallPool = std::size_t{2} << 20;

EngineConfig Shape(std::uint32_t number) {
  constexpr std::array<std::size_t, 4> kTokens = {3, 16, 64, 512}, kSequences = {1, 2, 3, 256};
  return {.kv_bytes = kSmallPool,
          .step_tokens = kTokens[number % 4],
          .sequences_max = kSequences[number / 4 % 4],
          .prefix_cache = number / 16 % 2 == 0};
}

}  // namespace

Result<AuditCounts> HonestAudits(ZooRun& run, std::uint64_t audits, std::uint32_t from) {
  const auto machines = AvailableOps();
  std::vector<std::unique_ptr<ThreadPool>> pools;
  for (const unsigned threads : {1u, 2u, 3u})
    pools.push_back(std::make_unique<ThreadPool>(threads));
  AuditCounts counts;
  std::vector<Lease> leases;
  std::vector<Group> groups;
  for (std::uint32_t i = from; counts.audits < audits; ++i) {
    if ((i - from) % kTogether == 0) {
      const std::uint32_t batch = (i - from) / kTogether;
      const PolicyVersion version{batch % 3};
      leases.clear();
      for (std::uint32_t k = 0; k < kTogether; ++k) leases.push_back(run.LeaseOf(i + k, version));
      WG_ASSIGN(const auto model,
                run.ModelOf(ZooRun::WeightsOf(version), *machines[batch % machines.size()]));
      WG_ASSIGN(groups, SampleGroups(run.codec(), leases, model, version, Shape(batch / 3),
                                     *pools[batch / 5 % pools.size()]));
    }
    const Lease& lease = leases[(i - from) % kTogether];
    const Group& group = groups[(i - from) % kTogether];
    ++counts.groups;
    const GroupProbe probe =
        ProbeOf(run.id(), GroupHash(group), group, static_cast<std::uint32_t>(run.config().layers));
    std::optional<Hash256> activation;
    for (const Ops* ops : machines) {
      for (const auto& pool : pools) {
        const Examination found =
            Examine(run.Examined(), run.Lookup(*ops), *pool, lease, group, &probe);
        ++counts.audits;
        counts.tokens += found.tokens;
        std::string wrong;
        if (const auto* reject = std::get_if<Reject>(&found.verdict)) {
          ++counts.accusations;
          wrong = reject->detail;
        } else if (const auto* fault = std::get_if<Fault>(&found.verdict)) {
          ++counts.faults;
          wrong = fault->what;
        } else if (activation.value_or(found.activation) != found.activation) {
          ++counts.accusations;  // two validators who both worked would be told apart
          wrong = "another activation at the probe";
        }
        activation = found.activation;
        if (!wrong.empty() && counts.first.empty())
          counts.first =
              fmt::format("lease {}, examined on {}: {}", LeaseName(lease.id), ops->name, wrong);
      }
    }
  }
  return counts;
}

}  // namespace waggle
