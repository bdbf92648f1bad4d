// Names to environments. Explicit: BuiltinEnvironments() lists everything that ships.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/config.h"
#include "environments/environment.h"

namespace waggle {

class EnvironmentRegistry {
 public:
  struct Entry {
    std::string name, description;
    std::string settings_table;  // Markdown, one row per setting
  };

  // `make` turns a checked configuration into an environment, or says what is wrong with it
  // (Blame::kOperator). It must hand out only environments whose MakeTask succeeds for every seed.
  template <class Config>
  void Add(std::string name, std::string description,
           Result<std::unique_ptr<Environment>> (*make)(const Config&), Config defaults = {}) {
    const auto configure = [name,
                            defaults](const std::vector<std::string>& settings) -> Result<Config> {
      Config config = defaults;
      for (const std::string& setting : settings) {
        const std::size_t equals = setting.find('=');
        if (equals == std::string::npos) {
          return Fail(Blame::kOperator, "environment {}: setting '{}' is not of the form key=value",
                      name, setting);
        }
        if (auto status = Override(config, setting.substr(0, equals), setting.substr(equals + 1));
            !status) {
          return Fail(Blame::kOperator, "environment {}: {}", name, status.error().what);
        }
      }
      return config;
    };
    Record record{.entry = {name, std::move(description), {}}, .make = {}, .effective = {}};
    record.entry.settings_table = DocTable(defaults);
    record.make =
        [configure,
         make](const std::vector<std::string>& settings) -> Result<std::unique_ptr<Environment>> {
      WG_ASSIGN(const Config config, configure(settings));
      return make(config);
    };
    record.effective =
        [configure](const std::vector<std::string>& settings) -> Result<std::string> {
      WG_ASSIGN(Config config, configure(settings));
      return WriteToml(config);
    };
    records_.push_back(std::move(record));
  }

  // Settings are "key=value" texts, later ones win. An unknown name or key names the known ones.
  Result<std::unique_ptr<Environment>> Make(std::string_view name,
                                            const std::vector<std::string>& settings = {}) const;
  // All settings in effect as TOML: equal environments have equal texts.
  Result<std::string> EffectiveSettings(std::string_view name,
                                        const std::vector<std::string>& settings = {}) const;

  std::vector<Entry> entries() const;

 private:
  struct Record {
    Entry entry;
    std::function<Result<std::unique_ptr<Environment>>(const std::vector<std::string>&)> make;
    std::function<Result<std::string>(const std::vector<std::string>&)> effective;
  };
  Result<const Record*> Find(std::string_view name) const;

  std::vector<Record> records_;
};

// Everything we ship.
EnvironmentRegistry BuiltinEnvironments();

}  // namespace waggle
