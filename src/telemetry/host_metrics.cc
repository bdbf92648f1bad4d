#include "telemetry/host_metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include "base/check.h"

namespace waggle {
namespace {

constexpr Outcome kOutcomes[] = {Outcome::kAccepted, Outcome::kStale,    Outcome::kRejected,
                                 Outcome::kExpired,  Outcome::kReturned, Outcome::kFault};

constexpr Finding kFindings[] = {Finding::kAccepted,    Finding::kUnavailable, Finding::kInvalid,
                                 Finding::kStatistical, Finding::kWrong,       Finding::kFault};

prometheus::Histogram::BucketBoundaries BucketsOf(HostMetric metric) {
  if (metric == HostMetric::kStaleness) return {0, 1, 2, 3, 4, 6, 8, 11, 16, 32};
  return {0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000};
}

}  // namespace

const std::vector<HostMetricDoc>& HostMetricDocs() {
  using M = HostMetric;
  using K = MetricKind;
  static const std::vector<HostMetricDoc> docs = {
      {M::kLeases, "waggle_leases_total", K::kCounter,
       "Grants of leases that ended, by how (label outcome)."},
      {M::kGrants, "waggle_grants_total", K::kCounter, "Grants of leases to workers."},
      {M::kTokens, "waggle_accepted_tokens_total", K::kCounter,
       "Sampled tokens in groups that were accepted."},
      {M::kWorkers, "waggle_workers_connected", K::kGauge, "Workers that are here."},
      {M::kWaiting, "waggle_workers_waiting", K::kGauge, "Workers in the queue for a lease."},
      {M::kLeasesHeld, "waggle_grants_open", K::kGauge,
       "Grants that have not ended, late ones included."},
      {M::kVersion, "waggle_policy_version", K::kGauge, "Newest policy version."},
      {M::kSteps, "waggle_steps_total", K::kCounter, "Training steps since this process began."},
      {M::kStaleness, "waggle_rollout_staleness_versions", K::kHistogram,
       "Age of each trained rollout: versions between the oldest policy in it and the step."},
      {M::kTrainerBusy, "waggle_trainer_busy_seconds_total", K::kCounter,
       "Time in which the trainer computed."},
      {M::kTrainerIdle, "waggle_trainer_idle_seconds_total", K::kCounter,
       "Time in which the trainer waited for rollouts."},
      {M::kWorkerBusy, "waggle_worker_busy_seconds_total", K::kCounter,
       "Time, summed over connected workers, in which they held a lease."},
      {M::kWorkerIdle, "waggle_worker_idle_seconds_total", K::kCounter,
       "Time, summed over connected workers, in which they held none."},
      {M::kStepSeconds, "waggle_step_seconds", K::kHistogram, "Trainer time of a step."},
      {M::kPolicyWay, "waggle_policy_way_seconds", K::kGauge,
       "From the announcement of a policy version to the first accepted group under it, lately."},
      {M::kFrameBytes, "waggle_frame_bytes_sent_total", K::kCounter,
       "Bytes of messages sent to workers; policies not included."},
      {M::kHttpBytes, "waggle_http_bytes_served_total", K::kCounter,
       "Bytes of bodies served over HTTP."},
      {M::kQueuedBytes, "waggle_queued_bytes", K::kGauge,
       "Bytes of messages that wait, both directions."},
      {M::kSockets, "waggle_sockets", K::kGauge, "TCP connections of the node protocol."},
      {M::kRefusals, "waggle_refusals_total", K::kCounter,
       "Messages of workers that were refused."},
      {M::kSlowDowns, "waggle_slow_downs_total", K::kCounter,
       "Requests for work that were answered with: ask again later."},
      {M::kHttpTurnedAway, "waggle_http_turned_away_total", K::kCounter,
       "HTTP connections that had to make room, or found none."},
      {M::kDraining, "waggle_draining", K::kGauge, "1 while the run drains, else 0."},
      {M::kDesks, "waggle_desks", K::kGauge, "Desks that are open."},
      {M::kDelegated, "waggle_leases_delegated", K::kGauge, "Leases in the hands of desks."},
      {M::kBatches, "waggle_batches_total", K::kCounter, "Signed batches that the ledger took."},
      {M::kAuditsDrawn, "waggle_batches_drawn_total", K::kCounter,
       "Batches that a beacon drew to be audited."},
      {M::kVerdicts, "waggle_verdicts_total", K::kCounter,
       "Verdicts of validators on batches (label finding)."},
      {M::kCanariesPlanted, "waggle_canaries_planted_total", K::kCounter,
       "Canaries, counted when they are shown: until then nobody is told."},
      {M::kCanariesFound, "waggle_canaries_found_total", K::kCounter,
       "Verdicts on canaries that said what they are."},
      {M::kCanariesMissed, "waggle_canaries_missed_total", K::kCounter,
       "Verdicts on canaries that said the opposite: their validators lost seat and stake."},
      {M::kPaid, "waggle_units_paid_total", K::kCounter,
       "Units paid to workers for batches that were settled."},
      {M::kForfeited, "waggle_units_forfeited_total", K::kCounter,
       "Units of pay that workers lost because a batch was proved wrong."},
      {M::kEpochsOpen, "waggle_epochs_open", K::kGauge,
       "Epochs of the ledger that began and are not settled, the one under way included."},
      {M::kVerdictSeconds, "waggle_seal_to_verdict_seconds", K::kHistogram,
       "From the seal of an epoch to each verdict on a batch of it."},
      {M::kWatchLevel, "waggle_watch_level", K::kGauge,
       "Worst level of the last window of a run that is watched: 0 green, 1 amber, 2 red."},
      {M::kOverLimit, "waggle_groups_over_limit_total", K::kCounter,
       "Accepted groups that were left out of a step: above orchestrator.worker_parts."},
  };
  return docs;
}

const char* ToString(MetricKind kind) {
  switch (kind) {
    case MetricKind::kCounter:
      return "counter";
    case MetricKind::kGauge:
      return "gauge";
    case MetricKind::kHistogram:
      return "histogram";
  }
  return "";
}

struct HostMetrics::Series {
  prometheus::Counter* counter = nullptr;
  prometheus::Gauge* gauge = nullptr;
  prometheus::Histogram* histogram = nullptr;
  std::map<Outcome, prometheus::Counter*> by_outcome;
  std::map<Finding, prometheus::Counter*> by_finding;
};

HostMetrics::HostMetrics() : registry_(std::make_unique<prometheus::Registry>()) {
  for (const HostMetricDoc& doc : HostMetricDocs()) {
    Check(static_cast<std::size_t>(doc.metric) == series_.size(),
          "the table has HostMetric's order");
    Series& series = series_.emplace_back();
    if (doc.kind == MetricKind::kGauge) {
      auto& family = prometheus::BuildGauge().Name(doc.name).Help(doc.help).Register(*registry_);
      series.gauge = &family.Add({});
    } else if (doc.kind == MetricKind::kHistogram) {
      auto& family =
          prometheus::BuildHistogram().Name(doc.name).Help(doc.help).Register(*registry_);
      series.histogram = &family.Add({}, BucketsOf(doc.metric));
    } else {
      auto& family = prometheus::BuildCounter().Name(doc.name).Help(doc.help).Register(*registry_);
      // All labels from the start: a rate needs a zero to begin at.
      if (doc.metric == HostMetric::kVerdicts) {
        for (const Finding finding : kFindings)
          series.by_finding[finding] = &family.Add({{"finding", ToString(finding)}});
        continue;
      }
      if (doc.metric != HostMetric::kLeases) {
        series.counter = &family.Add({});
        continue;
      }
      for (const Outcome outcome : kOutcomes)
        series.by_outcome[outcome] = &family.Add({{"outcome", ToString(outcome)}});
    }
  }
}

HostMetrics::~HostMetrics() = default;

void HostMetrics::Add(HostMetric metric, double amount) {
  series_[static_cast<std::size_t>(metric)].counter->Increment(amount);
}

void HostMetrics::CountOutcome(Outcome outcome) {
  series_[static_cast<std::size_t>(HostMetric::kLeases)].by_outcome.at(outcome)->Increment();
}

void HostMetrics::SetVerdicts(Finding finding, double value) {
  prometheus::Counter& counter =
      *series_[static_cast<std::size_t>(HostMetric::kVerdicts)].by_finding.at(finding);
  if (value > counter.Value()) counter.Increment(value - counter.Value());
}

void HostMetrics::Set(HostMetric metric, double value) {
  const Series& series = series_[static_cast<std::size_t>(metric)];
  if (series.gauge != nullptr) return series.gauge->Set(value);
  if (value > series.counter->Value()) series.counter->Increment(value - series.counter->Value());
}

void HostMetrics::Observe(HostMetric metric, double value) {
  series_[static_cast<std::size_t>(metric)].histogram->Observe(value);
}

double HostMetrics::Value(HostMetric metric) const {
  const Series& series = series_[static_cast<std::size_t>(metric)];
  return series.gauge != nullptr ? series.gauge->Value() : series.counter->Value();
}

std::string HostMetrics::Text() const {
  return prometheus::TextSerializer().Serialize(registry_->Collect());
}

}  // namespace waggle
