// One visitor says each setting once: a config struct has
//   template <class V> void Visit(V&& v) {
//     v("clip_low", clip_low, Range{0.0, 1.0}, "Lower PPO clip: ratio >= 1 - clip_low.");
//     v("rule", rule, OneOf{"clip", "cispo"}, "Policy-gradient rule.");      // std::string field
//     v("name", name, Any{}, "Free text.");
//     v.Section("optimizer", optimizer, "AdamW.");                             // another such
//     struct
//   }
// with fields of type bool, std::int64_t, std::uint64_t, std::uint32_t, double, std::string,
// std::vector<std::string>. From it come TOML reading (unknown keys are errors), overrides from the
// command line, the effective file that a run stores and hashes, and the documentation table.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace waggle {

template <class T>
struct Range {
  T low, high;  // both included
};
struct OneOf {
  std::vector<std::string> values;
  OneOf(std::initializer_list<const char*> list) : values(list.begin(), list.end()) {}
};
struct Any {};

}  // namespace waggle

#include "base/config_impl.h"

// ReadToml(text, file_name, config): every key must exist, have the right type and lie in its
// range; errors give
//   file:line and, for an unknown key, the closest known one.              Status
// Override(config, "optimizer.lr", "1e-3"): one value from the command line. Status
// WriteToml(config): all effective values, in visiting order; equal configs give equal text.
// std::string DocTable(config): one Markdown row per setting (key, default, range, help).
// std::string
