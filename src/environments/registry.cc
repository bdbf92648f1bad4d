#include "environments/registry.h"

namespace waggle {

Result<const EnvironmentRegistry::Record*> EnvironmentRegistry::Find(std::string_view name) const {
  std::string known;
  for (const Record& record : records_) {
    if (record.entry.name == name) return &record;
    known += (known.empty() ? "" : ", ") + record.entry.name;
  }
  return Fail(Blame::kOperator, "unknown environment '{}': there are {}", name, known);
}

Result<std::unique_ptr<Environment>> EnvironmentRegistry::Make(
    std::string_view name, const std::vector<std::string>& settings) const {
  WG_ASSIGN(const Record* record, Find(name));
  return record->make(settings);
}

Result<std::string> EnvironmentRegistry::EffectiveSettings(
    std::string_view name, const std::vector<std::string>& settings) const {
  WG_ASSIGN(const Record* record, Find(name));
  return record->effective(settings);
}

std::vector<EnvironmentRegistry::Entry> EnvironmentRegistry::entries() const {
  std::vector<Entry> entries;
  for (const Record& record : records_) entries.push_back(record.entry);
  return entries;
}

}  // namespace waggle
