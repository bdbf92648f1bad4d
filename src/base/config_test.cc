#include "base/config.h"

#include <gtest/gtest.h>

#include <cmath>

namespace waggle {
namespace {

struct Inner {
  double rate = 0.001;
  std::vector<std::string> names = {"a"};
  template <class V>
  void Visit(V&& v) {
    v("rate", rate, Range<double>{0.0, 1.0}, "A rate.");
    v("names", names, Any{}, "Names.");
  }
  bool operator==(const Inner&) const = default;
};

struct Outer {
  bool on = false;
  std::int64_t offset = -3;
  std::uint32_t count = 7;
  std::uint64_t seed = 1;
  std::string rule = "clip", text;
  Inner inner;
  template <class V>
  void Visit(V&& v) {
    v("on", on, Any{}, "A switch.");
    v("offset", offset, Range<std::int64_t>{-10, 10}, "An offset.");
    v("count", count, Range<std::uint32_t>{1, 100}, "A count.");
    v("seed", seed, Range<std::uint64_t>{0, ~0ull >> 1}, "A seed.");
    v("rule", rule, OneOf{"clip", "cispo"}, "A rule.");
    v("text", text, Any{}, "Free text.");
    v.Section("inner", inner, "Inside.");
  }
  bool operator==(const Outer&) const = default;
};

std::string ErrorOf(const Status& status) {
  if (status) return "";
  EXPECT_EQ(status.error().blame, Blame::kOperator);
  return status.error().what;
}

TEST(Config, ReadsEveryType) {
  Outer config;
  ASSERT_EQ(ErrorOf(ReadToml("on = true\noffset = -10\ncount = 100\nseed = "
                             "9223372036854775807\nrule = \"cispo\"\ntext = \"ü\"\n"
                             "[inner]\nrate = 1\nnames = [\"b\", \"c\"]\n",
                             "x.toml", config)),
            "");
  const Outer expected{.on = true,
                       .offset = -10,
                       .count = 100,
                       .seed = ~0ull >> 1,
                       .rule = "cispo",
                       .text = "ü",
                       .inner = {.rate = 1.0, .names = {"b", "c"}}};
  EXPECT_EQ(config, expected);
}

TEST(Config, ErrorsNameFileLineAndWhatWouldBeRight) {
  const std::pair<const char*, const char*> cases[] = {
      {"on = true\ncuont = 3\n", "x.toml:2: unknown setting 'cuont', did you mean 'count'?"},
      {"\n[inner]\nrates = 3\n",
       "x.toml:3: unknown setting 'inner.rates', did you mean 'inner.rate'?"},
      {"completely_different = 3\n", "x.toml:1: unknown setting 'completely_different'"},
      {"[iner]\nrate = 0.5\n", "x.toml:1: unknown section [iner]"},
      {"count = 0\n", "x.toml:1: count = 0 is outside of 1 to 100"},
      {"count = 4294967297\n", "x.toml:1: count: expected integer"},
      {"count = -1\n", "x.toml:1: count: expected integer"},
      {"count = 1.0\n", "x.toml:1: count: expected integer"},
      {"on = 1\n", "x.toml:1: on: expected bool"},
      {"rule = \"clips\"\n", "x.toml:1: rule = \"clips\" is none of clip, cispo"},
      {"[inner]\nrate = nan\n", "x.toml:2: inner.rate = nan is outside of 0 to 1"},
      {"[inner]\nnames = [1]\n", "x.toml:2: inner.names: lists hold texts only"},
      {"text = 1979-05-27\n", "x.toml:1: text: dates and times are not used"},
  };
  for (const auto& [text, message] : cases) {
    Outer config;
    EXPECT_EQ(ErrorOf(ReadToml(text, "x.toml", config)).substr(0, std::string_view(message).size()),
              message);
  }
  Outer config;
  EXPECT_NE(ErrorOf(ReadToml("on = true\non = false\n", "x.toml", config)).find("x.toml:2"),
            std::string::npos);
  EXPECT_NE(ErrorOf(ReadToml("on = ", "x.toml", config)).find("x.toml:1"), std::string::npos);
}

TEST(Config, AFailedReadChangesNothing) {
  Outer config;
  EXPECT_FALSE(ReadToml("on = true\ncount = 0\n", "x.toml", config));
  EXPECT_EQ(config, Outer{});
}

TEST(Config, OverridesAreCheckedLikeTheFile) {
  Outer config;
  EXPECT_EQ(ErrorOf(Override(config, "inner.rate", "1e-3")), "");
  EXPECT_EQ(ErrorOf(Override(config, "on", "true")), "");
  EXPECT_EQ(ErrorOf(Override(config, "inner.names", "x,y=z")), "");
  EXPECT_EQ(ErrorOf(Override(config, "text", "a,b")), "");
  EXPECT_EQ(config.inner.names, (std::vector<std::string>{"x", "y=z"}));
  EXPECT_EQ(config.text, "a,b");
  EXPECT_EQ(ErrorOf(Override(config, "inner.names", "")), "");
  EXPECT_TRUE(config.inner.names.empty());

  const Outer before = config;
  EXPECT_EQ(ErrorOf(Override(config, "inner.rte", "1")),
            "unknown setting 'inner.rte', did you mean 'inner.rate'?");
  for (const auto& [key, value] : {std::pair{"count", "101"},
                                   {"count", "7x"},
                                   {"count", ""},
                                   {"count", "1e1"},
                                   {"on", "yes"},
                                   {"rule", "ppo"},
                                   {"inner.rate", "nan"},
                                   {"inner.rate", "2"},
                                   {"inner", "1"}}) {
    EXPECT_NE(ErrorOf(Override(config, key, value)), "") << key << "=" << value;
  }
  EXPECT_EQ(config, before);
}

TEST(Config, TheEffectiveTextReadsBackAsItself) {
  Outer config{.on = true,
               .offset = 10,
               .seed = ~0ull >> 1,
               .text = "\"\\\n\x01\x7fü€",
               .inner = {.rate = 0.1, .names = {"", "\"", "a,b"}}};
  for (const double rate : {0.1, 1.0 / 3.0, 5e-324, 1e-7, 0.0, 1.0, std::nextafter(1.0, 0.0)}) {
    config.inner.rate = rate;
    const std::string text = WriteToml(config);
    Outer back;
    ASSERT_EQ(ErrorOf(ReadToml(text, "effective", back)), "") << text;
    EXPECT_EQ(back, config) << text;
    EXPECT_EQ(WriteToml(back), text);
  }
}

// This text is hashed into run ids: it may change only on purpose.
TEST(Config, EffectiveTextIsPinned) {
  Outer config;
  EXPECT_EQ(WriteToml(config),
            "on = false\noffset = -3\ncount = 7\nseed = 1\nrule = \"clip\"\ntext = \"\"\n"
            "\n[inner]\nrate = 0.001\nnames = [\"a\"]\n");
}

TEST(Config, DocTableHasARowForEverySetting) {
  Outer config;
  const std::string table = DocTable(config);
  EXPECT_NE(table.find("| `count` | integer | `7` | 1 to 100 | A count. |\n"), std::string::npos)
      << table;
  EXPECT_NE(table.find("| `inner.rate` | number | `0.001` | 0 to 1 | A rate. |\n"),
            std::string::npos)
      << table;
  EXPECT_NE(table.find("| `rule` | text | `\"clip\"` | clip, cispo | A rule. |\n"),
            std::string::npos)
      << table;
}

}  // namespace
}  // namespace waggle
