// A verifiable task family. Everything is a pure function of (environment, config, seed) and of the
// text the policy wrote: no clock, no randomness of its own, no weights. Safe to call from many
// threads.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace waggle {

enum class Role : std::uint8_t { kSystem, kUser, kAssistant, kTool };

struct ToolCall {
  std::string id, name, arguments_json;
  bool operator==(const ToolCall&) const = default;
};

struct Message {
  Role role = Role::kUser;
  std::string content;
  std::vector<ToolCall> tool_calls;  // assistant only
  std::string tool_call_id;          // tool only
  bool operator==(const Message&) const = default;
};

struct ToolSpec {
  std::string name, description, parameters_json_schema;
};

struct Task {
  std::string environment;
  std::uint64_t seed = 0;
  std::vector<Message> prompt;
  std::string answer;            // what a reference solution prints; graders may accept others
  std::string info_json = "{}";  // whatever the grader needs besides
  std::uint32_t length_target = 0;  // response tokens that the prompt asks for; 0: it does not say
};

// A weight of 0 makes a component a metric. `value` unset: this component could not be computed
// (never "0 by accident").
struct RewardComponent {
  std::string name;
  double weight = 1;
  std::optional<double> value;
};
struct Score {
  std::vector<RewardComponent> components;
  // Weighted sum; unset when any component with weight != 0 is unset (the rollout then leaves its
  // group's baseline).
  std::optional<double> Total() const;
  bool correct = false;  // for accuracy and for the difficulty filter
  // For watching (training/watch/), never paid for: what a strict grader or hidden tests say, where
  // there are any; whether the task is a canary, which nobody solves who has not seen its key;
  // whether the response reached for the grader itself.
  std::optional<double> held_out;
  bool canary = false, grader_contact = false;
};

class Environment {
 public:
  virtual ~Environment() = default;
  virtual std::string_view name() const = 0;
  virtual std::string_view description() const = 0;
  // The task with this seed. Held-out tasks use seeds with the top bit set; they never coincide
  // with training tasks.
  virtual Result<Task> MakeTask(std::uint64_t seed) const = 0;
  // The text of the policy's final answer inside its last message; empty optional: no answer in the
  // asked form.
  virtual std::optional<std::string> Parse(const Task& task, std::string_view completion) const = 0;
  // `transcript` is everything after the task's prompt, starting with an assistant message.
  virtual Score Grade(const Task& task, const std::vector<Message>& transcript) const = 0;
  // Multi-turn: what the environment answers to the transcript so far; empty: the episode is over.
  virtual std::vector<Message> Respond(const Task& task,
                                       const std::vector<Message>& transcript) const;
  virtual std::vector<ToolSpec> Tools() const { return {}; }
  // A good demonstration (for SFT warm-up), if the environment knows one.
  virtual std::optional<std::string> Demonstrate(const Task& task) const;
};

inline constexpr std::uint64_t kHeldOutBit = std::uint64_t{1} << 63;

}  // namespace waggle
