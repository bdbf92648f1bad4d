// What a volunteer is told of a run: all of it comes back, and nothing else does.
#include "run/run_description.h"

#include <gtest/gtest.h>

#include "run/base_model.h"
#include "run/test_recipe.h"

namespace waggle {
namespace {

const std::vector<std::string> kSpecials = {"<s>", "</s>", "<unk>"};

class Described : public ::testing::Test {
 protected:
  Described() {
    recipe_.trainer.algorithm.kl.mode = "loss";
    recipe_.trainer.algorithm.kl.beta = 0.1;
    teacher_.weights = Hash256{7};
    teacher_.model = FreshConfig(recipe_.model, 20, TokenId{1});
    teacher_.model.hidden = 16;
  }
  Bytes Encoded(const std::optional<TeacherDescription>& teacher) const {
    return EncodeDescription(recipe_, model_, tokenizer_, start_, teacher);
  }

  Recipe recipe_ = SmallRecipe();
  const Tokenizer tokenizer_ = Tokenizer::FromCharacters(kSpecials, "0123456789").value();
  const ModelConfig model_ = FreshConfig(recipe_.model, 20, TokenId{1});
  const Hash256 start_{9};
  TeacherDescription teacher_;
};

TEST_F(Described, WithoutATeacherThereIsNoneAndNoPath) {
  recipe_.trainer.algorithm.kl.teacher = "/somebodys/models/teacher";  // stays on its machine
  const RunDescription d = DecodeDescription(Encoded({}), RunIdOf(recipe_, start_)).value();
  EXPECT_FALSE(d.teacher);
  EXPECT_EQ(d.start, start_);
  EXPECT_EQ(d.recipe.trainer.algorithm.kl.teacher, "");
}

TEST_F(Described, ATeacherIsToldByWhatItMustBe) {
  recipe_.trainer.algorithm.kl.teacher = "/somebodys/models/teacher";
  const RunDescription d = DecodeDescription(Encoded(teacher_), RunIdOf(recipe_, start_)).value();
  ASSERT_TRUE(d.teacher);
  EXPECT_EQ(d.teacher->weights, teacher_.weights);
  EXPECT_EQ(d.teacher->model.hidden, 16u);
  EXPECT_EQ(d.recipe.trainer.algorithm.kl.teacher, "teacher") << "there is one, and no path";
}

TEST_F(Described, WhatIsNoTeacherIsRefused) {
  const Hash256 run = RunIdOf(recipe_, start_);
  const Bytes good = Encoded(teacher_);
  ASSERT_TRUE(DecodeDescription(good, run));
  for (std::size_t i = Encoded({}).size() + 1; i < good.size(); ++i)
    EXPECT_FALSE(DecodeDescription(std::span(good).first(i), run)) << i;
  Bytes longer = good;
  longer.push_back(0);
  EXPECT_FALSE(DecodeDescription(longer, run));
  teacher_.model.hidden = 0;
  const auto shapeless = DecodeDescription(Encoded(teacher_), run);
  ASSERT_FALSE(shapeless);
  EXPECT_EQ(shapeless.error().blame, Blame::kPeer);
  // A teacher for an algorithm that asks for none.
  teacher_.model.hidden = 16;
  recipe_.trainer.algorithm.kl.mode = "none";
  const auto unasked = DecodeDescription(Encoded(teacher_), RunIdOf(recipe_, start_));
  ASSERT_FALSE(unasked);
  EXPECT_EQ(unasked.error().blame, Blame::kPeer);
}

}  // namespace
}  // namespace waggle
