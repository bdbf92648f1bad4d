// The one list of everything that ships.
#include "environments/arithmetic.h"
#include "environments/countdown.h"
#include "environments/digit_completion.h"
#include "environments/gsm8k.h"
#include "environments/hackable.h"
#include "environments/registry.h"
#include "environments/sat.h"
#include "environments/sequences.h"
#include "environments/stories.h"
#include "environments/tool_demo.h"

namespace waggle {

EnvironmentRegistry BuiltinEnvironments() {
  EnvironmentRegistry all;
  all.Add<ArithmeticConfig>(
      "arithmetic", "Exact integer sums, differences and products of any length.", &MakeArithmetic);
  all.Add<CountdownConfig>("countdown",
                           "Reach a target with + - * / using every given number exactly once.",
                           &MakeCountdown);
  all.Add<SatConfig>("sat", "Random 3-SAT: find values that satisfy every clause.", &MakeSat);
  all.Add<SequenceConfig>("sort", "Put the characters of a text in order.", &MakeSort);
  all.Add<SequenceConfig>("copy", "Repeat a text.", &MakeCopy);
  all.Add<SequenceConfig>("reverse", "Write a text backwards.", &MakeReverse);
  all.Add<DigitCompletionConfig>(
      "digit-completion", "Continue an arithmetic progression modulo M; dense prefix reward.",
      &MakeDigitCompletion);
  all.Add<HackableConfig>(
      "hackable", "Sort for a grader that can be fooled: a demonstration of reward hacking.",
      &MakeHackable);
  all.Add<StoriesConfig>("stories", "Tell a story that has checkable properties.", &MakeStories);
  all.Add<Gsm8kConfig>(
      "gsm8k", "Grade-school word problems from JSON Lines files; robust exact numeric grader.",
      &MakeGsm8k);
  all.Add<ToolDemoConfig>(
      "tool-demo", "Several turns: products with the help of a calculator tool.", &MakeToolDemo);
  return all;
}

}  // namespace waggle
