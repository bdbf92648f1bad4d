#include "base/config.h"

#include <toml++/toml.h>

#include <algorithm>
#include <charconv>
#include <map>

namespace waggle::config_internal {
namespace {

std::size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t above = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row[b.size()];
}

std::string Suggestion(const SettingList& list, std::string_view key) {
  const Setting* best = nullptr;
  std::size_t best_distance = 1 + key.size() / 3;
  for (const Setting& setting : list.settings) {
    const std::size_t distance = EditDistance(key, setting.key);
    if (distance > best_distance || (best != nullptr && distance == best_distance)) continue;
    best = &setting;
    best_distance = distance;
  }
  return best == nullptr ? "" : fmt::format(", did you mean '{}'?", best->key);
}

const Setting* FindSetting(const SettingList& list, std::string_view key) {
  for (const Setting& setting : list.settings) {
    if (setting.key == key) return &setting;
  }
  return nullptr;
}

Result<SettingValue> ToSettingValue(const toml::node& node) {
  if (const auto* boolean = node.as_boolean()) return SettingValue{boolean->get()};
  if (const auto* integer = node.as_integer()) return SettingValue{integer->get()};
  if (const auto* number = node.as_floating_point()) return SettingValue{number->get()};
  if (const auto* text = node.as_string()) return SettingValue{text->get()};
  if (const auto* array = node.as_array()) {
    std::vector<std::string> items;
    for (const toml::node& item : *array) {
      if (!item.is_string()) return Fail(Blame::kOperator, "lists hold texts only");
      items.push_back(item.as_string()->get());
    }
    return SettingValue{std::move(items)};
  }
  return Fail(Blame::kOperator, "dates and times are not used");
}

Status ReadTable(const SettingList& list, const toml::table& table, const std::string& prefix,
                 const std::string& file) {
  for (const auto& [name, node] : table) {
    const std::string key = prefix + std::string(name.str());
    const auto at = fmt::format("{}:{}", file, node.source().begin.line);
    if (const auto* inner = node.as_table()) {
      const bool known = std::any_of(list.sections.begin(), list.sections.end(),
                                     [&](const auto& s) { return s.path == key; });
      if (!known)
        return Fail(Blame::kOperator, "{}: unknown section [{}]{}", at, key, Suggestion(list, key));
      WG_TRY(ReadTable(list, *inner, key + ".", file));
      continue;
    }
    const Setting* setting = FindSetting(list, key);
    if (setting == nullptr)
      return Fail(Blame::kOperator, "{}: unknown setting '{}'{}", at, key, Suggestion(list, key));
    const auto value = ToSettingValue(node);
    if (!value) return Fail(Blame::kOperator, "{}: {}: {}", at, key, value.error().what);
    if (const Status status = setting->set(*value); !status)
      return Fail(Blame::kOperator, "{}: {}", at, status.error().what);
  }
  return {};
}

std::string Quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      out += fmt::format("\\u{:04X}", static_cast<unsigned>(static_cast<unsigned char>(c)));
    } else {
      out += c;
    }
  }
  return out + "\"";
}

struct TomlText {
  std::string operator()(bool value) const { return value ? "true" : "false"; }
  std::string operator()(std::int64_t value) const { return std::to_string(value); }
  std::string operator()(double value) const {
    // Shortest text that reads back as the same double; TOML wants a point or an exponent.
    std::string text = fmt::format("{}", value);
    if (text.find_first_of(".en") == std::string::npos) text += ".0";
    return text;
  }
  std::string operator()(const std::string& value) const { return Quoted(value); }
  std::string operator()(const std::vector<std::string>& value) const {
    std::string text = "[";
    for (const std::string& item : value) text += (text.size() > 1 ? ", " : "") + Quoted(item);
    return text + "]";
  }
};

std::string SectionOf(const std::string& key) {
  const std::size_t dot = key.rfind('.');
  return dot == std::string::npos ? "" : key.substr(0, dot);
}

template <class T>
Result<T> ParseNumber(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size())
    return Fail(Blame::kOperator, "not a number");
  return value;
}

}  // namespace

Status ReadTomlInto(const SettingList& list, std::string_view text, const std::string& file_name) {
  try {
    const toml::table table = toml::parse(text, file_name);
    return ReadTable(list, table, "", file_name);
  } catch (const toml::parse_error& error) {
    return Fail(Blame::kOperator, "{}:{}: {}", file_name, error.source().begin.line,
                error.description());
  }
}

Status OverrideIn(const SettingList& list, std::string_view key, std::string_view value) {
  const Setting* setting = FindSetting(list, key);
  if (setting == nullptr)
    return Fail(Blame::kOperator, "unknown setting '{}'{}", key, Suggestion(list, key));
  const auto wrong = [&] {
    return Fail(Blame::kOperator, "{}: expected {}, got '{}'", key, setting->type, value);
  };
  if (setting->type == "bool") {
    if (value != "true" && value != "false") return wrong();
    return setting->set(SettingValue{value == "true"});
  }
  if (setting->type == "integer") {
    const auto number = ParseNumber<std::int64_t>(value);
    return number ? setting->set(SettingValue{*number}) : Status(wrong());
  }
  if (setting->type == "number") {
    const auto number = ParseNumber<double>(value);
    return number ? setting->set(SettingValue{*number}) : Status(wrong());
  }
  if (setting->type == "text") return setting->set(SettingValue{std::string(value)});
  std::vector<std::string> items;  // comma-separated
  for (std::size_t at = 0; at <= value.size() && !value.empty();) {
    const std::size_t end = std::min(value.find(',', at), value.size());
    items.emplace_back(value.substr(at, end - at));
    at = end + 1;
  }
  return setting->set(SettingValue{std::move(items)});
}

std::string WriteTomlOf(const SettingList& list) {
  // TOML wants the settings of a table before its sub-tables; visiting order is kept inside each
  // section.
  std::string text;
  const auto write_section = [&](const std::string& section) {
    for (const Setting& setting : list.settings) {
      if (SectionOf(setting.key) != section) continue;
      const std::string name =
          section.empty() ? setting.key : setting.key.substr(section.size() + 1);
      text += name + " = " + std::visit(TomlText{}, setting.get()) + "\n";
    }
  };
  write_section("");
  for (const SettingSection& section : list.sections) {
    text += "\n[" + section.path + "]\n";
    write_section(section.path);
  }
  return text;
}

std::string DocTableOf(const SettingList& list) {
  std::string text = "| setting | type | default | allowed | |\n|---|---|---|---|---|\n";
  for (const Setting& setting : list.settings) {
    text += fmt::format("| `{}` | {} | `{}` | {} | {} |\n", setting.key, setting.type,
                        std::visit(TomlText{}, setting.get()), setting.allowed, setting.help);
  }
  return text;
}

}  // namespace waggle::config_internal
