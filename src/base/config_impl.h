// Turns a visited struct into a flat list of settings; everything else works on that list. Included
// by base/config.h only.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <type_traits>
#include <utility>
#include <variant>

namespace waggle {

using SettingValue =
    std::variant<bool, std::int64_t, double, std::string, std::vector<std::string>>;

// One setting of one config object; get and set point into that object, which must outlive it.
struct Setting {
  std::string key;  // dotted path
  std::string help;
  std::string type;     // "bool", "integer", "number", "text", "list of text"
  std::string allowed;  // range or choices in words; empty: anything
  std::function<SettingValue()> get;
  std::function<Status(const SettingValue&)> set;
};
struct SettingSection {
  std::string path, help;
};
struct SettingList {
  std::vector<Setting> settings;         // in visiting order
  std::vector<SettingSection> sections;  // in visiting order, the root ("") not among them
};

namespace config_internal {

template <class T>
constexpr bool kIsInteger = std::is_integral_v<T> && !std::is_same_v<T, bool>;

template <class T>
SettingValue ToValue(const T& field) {
  if constexpr (kIsInteger<T>) {
    return static_cast<std::int64_t>(field);
  } else {
    return field;
  }
}

// Type conversion, then the constraint; `field` is untouched on failure.
template <class T, class Accept>
Status Assign(T& field, const SettingValue& value, const std::string& key, const std::string& type,
              const Accept& accept) {
  T converted{};
  if constexpr (kIsInteger<T>) {
    const auto* integer = std::get_if<std::int64_t>(&value);
    if (integer == nullptr || !std::in_range<T>(*integer))
      return Fail(Blame::kOperator, "{}: expected {}", key, type);
    converted = static_cast<T>(*integer);
  } else if constexpr (std::is_same_v<T, double>) {
    if (const auto* integer = std::get_if<std::int64_t>(&value)) {
      converted = static_cast<double>(*integer);
    } else if (const auto* number = std::get_if<double>(&value)) {
      converted = *number;
    } else {
      return Fail(Blame::kOperator, "{}: expected {}", key, type);
    }
  } else {
    const auto* same = std::get_if<T>(&value);
    if (same == nullptr) return Fail(Blame::kOperator, "{}: expected {}", key, type);
    converted = *same;
  }
  WG_TRY(accept(converted));
  field = std::move(converted);
  return {};
}

template <class T>
const char* TypeName() {
  if constexpr (std::is_same_v<T, bool>) return "bool";
  if constexpr (kIsInteger<T>) return "integer";
  if constexpr (std::is_same_v<T, double>) return "number";
  if constexpr (std::is_same_v<T, std::string>) return "text";
  return "list of text";
}

class Collector {
 public:
  explicit Collector(SettingList& list, std::string prefix = "")
      : list_(list), prefix_(std::move(prefix)) {}

  template <class T, class U>
  void operator()(const char* name, T& field, Range<U> range, const char* help) {
    const std::string key = prefix_ + name;
    // Written so that a NaN is outside of every range.
    Add<T>(key, field, help, fmt::format("{} to {}", range.low, range.high),
           [key, range](const T& value) -> Status {
             if (value >= static_cast<T>(range.low) && value <= static_cast<T>(range.high))
               return {};
             return Fail(Blame::kOperator, "{} = {} is outside of {} to {}", key, value, range.low,
                         range.high);
           });
  }
  template <class T>
  void operator()(const char* name, T& field, const OneOf& choices, const char* help) {
    const std::string key = prefix_ + name;
    std::string words;
    for (const std::string& choice : choices.values) words += (words.empty() ? "" : ", ") + choice;
    Add<T>(key, field, help, words, [key, choices, words](const T& value) -> Status {
      for (const std::string& choice : choices.values) {
        if (choice == value) return {};
      }
      return Fail(Blame::kOperator, "{} = \"{}\" is none of {}", key, value, words);
    });
  }
  template <class T>
  void operator()(const char* name, T& field, Any, const char* help) {
    Add<T>(prefix_ + name, field, help, "", [](const T&) -> Status { return {}; });
  }
  template <class T>
  void operator()(const char* name, T& field, const char* help) {
    (*this)(name, field, Any{}, help);
  }
  template <class C>
  void Section(const char* name, C& section, const char* help) {
    list_.sections.push_back({prefix_ + name, help});
    Collector inner(list_, prefix_ + name + ".");
    section.Visit(inner);
  }

 private:
  template <class T, class Accept>
  void Add(const std::string& key, T& field, const char* help, std::string allowed, Accept accept) {
    Setting setting{.key = key,
                    .help = help,
                    .type = TypeName<T>(),
                    .allowed = std::move(allowed),
                    .get = {},
                    .set = {}};
    setting.get = [&field] { return ToValue(field); };
    setting.set = [&field, key, type = setting.type, accept](const SettingValue& value) {
      return Assign(field, value, key, type, accept);
    };
    list_.settings.push_back(std::move(setting));
  }

  SettingList& list_;
  std::string prefix_;
};

Status ReadTomlInto(const SettingList& list, std::string_view text, const std::string& file_name);
Status OverrideIn(const SettingList& list, std::string_view key, std::string_view value);
std::string WriteTomlOf(const SettingList& list);
std::string DocTableOf(const SettingList& list);

}  // namespace config_internal

template <class C>
SettingList SettingsOf(C& config) {
  SettingList list;
  config_internal::Collector collector(list);
  config.Visit(collector);
  return list;
}

template <class C>
Status ReadToml(std::string_view text, const std::string& file_name, C& config) {
  C next = config;  // all or nothing
  WG_TRY(config_internal::ReadTomlInto(SettingsOf(next), text, file_name));
  config = std::move(next);
  return {};
}
template <class C>
Status Override(C& config, std::string_view key, std::string_view value) {
  return config_internal::OverrideIn(SettingsOf(config), key, value);
}
template <class C>
std::string WriteToml(C& config) {
  return config_internal::WriteTomlOf(SettingsOf(config));
}
template <class C>
std::string DocTable(C& config) {
  return config_internal::DocTableOf(SettingsOf(config));
}

}  // namespace waggle
