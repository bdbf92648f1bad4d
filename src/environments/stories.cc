#include "environments/stories.h"

#include <algorithm>
#include <charconv>
#include <functional>
#include <set>
#include <span>

#include "environments/task_tools.h"

namespace waggle {
namespace {

struct Property {
  std::string name;
  std::function<bool(std::string_view)> holds;
};

bool IsWordByte(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return (byte | 0x20u) - 'a' < 26u || (c >= '0' && c <= '9') || c == '\'' || byte >= 0x80;
}

std::vector<std::string_view> Words(std::string_view text) {
  std::vector<std::string_view> words;
  for (std::size_t at = 0; at < text.size();) {
    std::size_t end = at;
    while (end < text.size() && IsWordByte(text[end])) ++end;
    if (end > at) words.push_back(text.substr(at, end - at));
    at = end + (end == at ? 1 : 0);
  }
  return words;
}

// A full stop ends something: "..." counts once, "." before a digit does not count.
std::size_t FullStops(std::string_view text) {
  std::size_t stops = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool last_of_run = text[i] == '.' && (i + 1 == text.size() || text[i + 1] != '.');
    const bool decimal = i + 1 < text.size() && text[i + 1] >= '0' && text[i + 1] <= '9';
    if (last_of_run && !decimal) ++stops;
  }
  return stops;
}

std::size_t Sentences(std::string_view text) {
  std::size_t sentences = 0;
  const auto ends = [](char c) { return c == '.' || c == '!' || c == '?'; };
  bool open = false;
  for (const char c : text) {
    if (ends(c) && open) ++sentences;
    if (ends(c)) open = false;
    if (IsWordByte(c)) open = true;
  }
  return sentences;
}

bool Unrepeated(std::string_view text, std::size_t run) {
  const auto words = Words(text);
  std::set<std::vector<std::string_view>> seen;
  for (std::size_t i = 0; i + run <= words.size(); ++i) {
    if (!seen.emplace(words.begin() + static_cast<std::ptrdiff_t>(i),
                      words.begin() + static_cast<std::ptrdiff_t>(i + run))
             .second) {
      return false;
    }
  }
  return true;
}

Result<std::string> Unescape(std::string_view argument) {
  std::string text(argument);
  constexpr std::pair<const char*, const char*> kNamed[] = {
      {"<comma>", ","}, {"<quote>", "\""}, {"<newline>", "\n"}};
  for (const auto& [name, character] : kNamed) {
    const std::string_view wanted = name;
    for (std::size_t at = text.find(wanted); at != std::string::npos;
         at = text.find(wanted, at + 1)) {
      text.replace(at, wanted.size(), character);
    }
  }
  return text;
}

std::function<bool(std::string_view)> TextProperty(std::string_view kind, const std::string& text) {
  if (kind == "contains")
    return [text](std::string_view story) { return story.find(text) != std::string_view::npos; };
  if (kind == "lacks")
    return [text](std::string_view story) { return story.find(text) == std::string_view::npos; };
  if (kind == "ends_with")
    return [text](std::string_view story) { return Trim(story).ends_with(text); };
  if (kind == "starts_with")
    return [text](std::string_view story) { return Trim(story).starts_with(text); };
  if (kind == "word") {
    return [text](std::string_view story) {
      const auto words = Words(story);
      return std::find(words.begin(), words.end(), text) != words.end();
    };
  }
  return nullptr;
}

std::function<bool(std::string_view)> CountProperty(std::string_view kind, std::size_t count) {
  if (kind == "full_stops")
    return [count](std::string_view story) { return FullStops(story) >= count; };
  if (kind == "sentences")
    return [count](std::string_view story) { return Sentences(story) == count; };
  if (kind == "words_min")
    return [count](std::string_view story) { return Words(story).size() >= count; };
  if (kind == "words_max")
    return [count](std::string_view story) { return Words(story).size() <= count; };
  if (kind == "unrepeated" && count > 0)
    return [count](std::string_view story) { return Unrepeated(story, count); };
  return nullptr;
}

Result<Property> ReadProperty(const std::string& setting) {
  const std::size_t space = std::min(setting.find(' '), setting.size());
  const std::string_view kind = std::string_view(setting).substr(0, space);
  const std::string_view argument =
      std::string_view(setting).substr(std::min(space + 1, setting.size()));
  if (!argument.empty()) {
    WG_ASSIGN(const std::string text, Unescape(argument));
    if (auto holds = TextProperty(kind, text)) return Property{setting, std::move(holds)};
    std::uint32_t count = 0;
    const auto [end, error] =
        std::from_chars(argument.data(), argument.data() + argument.size(), count);
    if (error == std::errc{} && end == argument.data() + argument.size() && count <= 100000) {
      if (auto holds = CountProperty(kind, count)) return Property{setting, std::move(holds)};
    }
  }
  return Fail(
      Blame::kOperator,
      "stories: property '{}' is not understood; for example \"contains dog\" or \"full_stops 4\"",
      setting);
}

struct Opening {
  std::string text;
  const std::string& key() const { return text; }
};

std::optional<Opening> ComposeOpening(Rng& rng) {
  static constexpr const char* kTimes[] = {"Once upon a time", "One day", "One sunny day",
                                           "Long ago", "One morning"};
  static constexpr const char* kAdjectives[] = {"little", "big",  "happy",   "sad",
                                                "brave",  "kind", "curious", "shy"};
  static constexpr const char* kHeroes[] = {"girl",   "boy",  "cat",   "bird",
                                            "rabbit", "bear", "mouse", "fish"};
  static constexpr const char* kNames[] = {"Lily", "Tom", "Ben",  "Sue", "Max",
                                           "Mia",  "Tim", "Anna", "Sam", "Lucy"};
  const auto pick = [&rng](const auto& list) {
    return list[rng.Below(static_cast<std::uint32_t>(std::size(list)))];
  };
  const char* time = pick(kTimes);
  const char* adjective = pick(kAdjectives);
  const char* hero = pick(kHeroes);
  const char* hero_name = pick(kNames);
  return Opening{fmt::format("{}, there was a {} {} named {}.", time, adjective, hero, hero_name)};
}

class Stories final : public Environment {
 public:
  Stories(const StoriesConfig& config, std::vector<Property> properties)
      : config_(config), properties_(std::move(properties)) {}

  std::string_view name() const override { return "stories"; }
  std::string_view description() const override {
    return "Tell a story that has checkable properties.";
  }

  Result<Task> MakeTask(std::uint64_t seed) const override {
    if (config_.openings == "varied") {
      const auto opening = DrawOnSide(seed, {.attempts_max = kDrawsMax}, ComposeOpening);
      if (!opening) return Fail(Blame::kBug, "stories: no opening found");
      return UserTask(name(), seed, opening->text, "");
    }
    // With several prompts the last eighth, at least one, is held out.
    const std::span<const std::string> all = config_.prompts;
    const std::size_t held_out = all.size() == 1 ? 0 : std::max<std::size_t>(1, all.size() / 8);
    const bool evaluation = (seed & kHeldOutBit) != 0 && held_out > 0;
    const auto prompts = evaluation ? all.last(held_out) : all.first(all.size() - held_out);
    return UserTask(name(), seed, prompts[RowOf(seed, prompts.size())], "");
  }

  std::optional<std::string> Parse(const Task&, std::string_view completion) const override {
    if (Trim(completion).empty() || completion.size() > config_.characters_max) return std::nullopt;
    return std::string(completion);
  }

  Score Grade(const Task& task, const std::vector<Message>& transcript) const override {
    const auto story = Parse(task, FinalText(transcript));
    Score score;
    score.correct = story.has_value();
    for (const Property& property : properties_) {
      const bool holds = story && property.holds(*story);
      score.components.push_back(
          {property.name, 1.0 / static_cast<double>(properties_.size()), holds ? 1.0 : 0.0});
      score.correct = score.correct && holds;
    }
    score.components.push_back({"length", 0, static_cast<double>(FinalText(transcript).size())});
    if (story) {
      const auto words = Words(*story);
      const std::set<std::string_view> distinct(words.begin(), words.end());
      if (!words.empty()) {
        score.components.push_back(
            {"distinct_words", 0,
             static_cast<double>(distinct.size()) / static_cast<double>(words.size())});
      }
    }
    return score;
  }

 private:
  StoriesConfig config_;
  std::vector<Property> properties_;
};

}  // namespace

Result<std::unique_ptr<Environment>> MakeStories(const StoriesConfig& config) {
  if (config.properties.empty() || config.properties.size() > 32)
    return Fail(Blame::kOperator, "stories: 1 to 32 properties");
  const bool blank = std::any_of(config.prompts.begin(), config.prompts.end(),
                                 [](const auto& prompt) { return prompt.empty(); });
  if (config.prompts.empty() || blank)
    return Fail(Blame::kOperator, "stories: name at least one prompt, none of them empty");
  std::vector<Property> properties;
  for (const std::string& setting : config.properties) {
    WG_ASSIGN(Property property, ReadProperty(setting));
    properties.push_back(std::move(property));
  }
  return std::make_unique<Stories>(config, std::move(properties));
}

}  // namespace waggle
