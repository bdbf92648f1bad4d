// What a host tells Prometheus. One table (HostMetricDocs) gives names, kinds and help; the
// registry is made from it, and so is docs/metrics.md. Nothing here feeds back into the run.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "ledger/entries.h"
#include "protocol/messages.h"

namespace prometheus {
class Registry;
}

namespace waggle {

enum class HostMetric : std::uint8_t {
  kLeases,
  kGrants,
  kTokens,
  kWorkers,
  kWaiting,
  kLeasesHeld,
  kVersion,
  kSteps,
  kStaleness,
  kTrainerBusy,
  kTrainerIdle,
  kWorkerBusy,
  kWorkerIdle,
  kStepSeconds,
  kPolicyWay,
  kFrameBytes,
  kHttpBytes,
  kQueuedBytes,
  kSockets,
  kRefusals,
  kSlowDowns,
  kHttpTurnedAway,
  kDraining,
  kDesks,
  kDelegated,
  kBatches,
  kAuditsDrawn,
  kVerdicts,
  kCanariesPlanted,
  kCanariesFound,
  kCanariesMissed,
  kPaid,
  kForfeited,
  kEpochsOpen,
  kVerdictSeconds,
  kWatchLevel,
  kOverLimit,
};
enum class MetricKind : std::uint8_t { kCounter, kGauge, kHistogram };
struct HostMetricDoc {
  HostMetric metric;
  const char* name;
  MetricKind kind;
  const char* help;
};
// In the order of HostMetric.
const std::vector<HostMetricDoc>& HostMetricDocs();
const char* ToString(MetricKind kind);

// Set, Add and Observe are for one thread; Text for any.
class HostMetrics {
 public:
  HostMetrics();
  ~HostMetrics();

  void Add(HostMetric metric, double amount);
  void CountOutcome(Outcome outcome);               // kLeases, by outcome
  void SetVerdicts(Finding finding, double value);  // kVerdicts, by finding
  // A gauge, or the value a counter has reached (it never goes back).
  void Set(HostMetric metric, double value);
  void Observe(HostMetric metric, double value);
  double Value(HostMetric metric) const;  // of a counter or gauge

  std::string Text() const;  // the Prometheus text format

 private:
  struct Series;
  std::unique_ptr<prometheus::Registry> registry_;
  std::vector<Series> series_;  // by HostMetric
};

}  // namespace waggle
