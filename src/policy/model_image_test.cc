// A policy as a model's tensors and back, and updates that touch adapters only.
#include "policy/model_image.h"

#include <gtest/gtest.h>

#include "kernels/math.h"
#include "model/model.h"
#include "policy/test_store.h"

namespace waggle {
namespace {

ModelConfig SmallModel() {
  ModelConfig config;
  config.vocab = 12;
  config.hidden = 32;
  config.intermediate = 48;
  config.layers = 2;
  config.heads = 2;
  config.kv_heads = 1;
  config.head_dim = 16;
  config.max_positions = 64;
  config.tied_head = true;
  return config;
}

TEST(ModelImage, FormIsThatOfTheImage) {
  ThreadPool pool(2);
  const Parameters parameters = RandomParameters(SmallModel(), 1);
  const LoraParameters lora = InitLora(SmallModel(), {.rank = 3, .alpha = 6.0f, .targets = {}}, 2);
  for (const WeightFormat format : {WeightFormat::kF32, WeightFormat::kBf16, WeightFormat::kInt8}) {
    EXPECT_EQ(ImageOf(parameters, format, nullptr, pool).Form(),
              FormOf(SmallModel(), format, nullptr));
    EXPECT_EQ(ImageOf(parameters, format, &lora, pool).Form(),
              FormOf(SmallModel(), format, &lora.config));
  }
  EXPECT_TRUE(CheckForm(FormOf(SmallModel(), WeightFormat::kBf16, &lora.config)));
}

// What is sampled from after a transfer are the bits that the trainer's own model works with.
TEST(ModelImage, AModelFromAnImageIsTheTrainersModel) {
  ThreadPool pool(1);
  const Parameters parameters = RandomParameters(SmallModel(), 1);
  for (const WeightFormat format : {WeightFormat::kF32, WeightFormat::kBf16}) {
    const PolicyImage image = ImageOf(parameters, format, nullptr, pool);
    const ImageSource source(image);
    for (const auto& [name, tensor] : parameters) {
      ASSERT_EQ(source.Find(name)->shape, tensor.shape);
      std::vector<float> values(tensor.size());
      source.Read(name, 0, values.size(), values.data());
      for (std::size_t i = 0; i < values.size(); ++i) {
        const float wanted =
            format == WeightFormat::kBf16 ? RoundToBf16(tensor.data[i]) : tensor.data[i];
        ASSERT_EQ(std::bit_cast<std::uint32_t>(values[i]), std::bit_cast<std::uint32_t>(wanted));
      }
    }
    EXPECT_FALSE(source.Find("nothing"));
    NumericsConfig numerics;
    numerics.weights = format;
    EXPECT_TRUE(Model::Create(SmallModel(), numerics, source, nullptr, BestOps()));
  }
}

TEST(ModelImage, TensorsThatDidNotChangeAreShared) {
  ThreadPool pool(1);
  Parameters parameters = RandomParameters(SmallModel(), 1);
  const PolicyImage before = ImageOf(parameters, WeightFormat::kBf16, nullptr, pool);
  parameters.at("model.norm.weight").data[0] += 1.0f;
  const PolicyImage after = ImageOf(parameters, WeightFormat::kBf16, nullptr, pool, &before);
  for (const auto& [name, tensor] : after.tensors())
    EXPECT_EQ(tensor == before.tensors().at(name), name != "model.norm.weight") << name;
  EXPECT_EQ(after.root(), ImageOf(parameters, WeightFormat::kBf16, nullptr, pool).root());
}

class AdapterUpdate : public ::testing::Test {
 protected:
  PolicyManifest Facts(const PolicyImage& next) const {
    return {.version = PolicyVersion{2},
            .kind = PolicyKind::kAdapter,
            .base = PolicyVersion{1},
            .base_root = base_.root(),
            .root = next.root()};
  }
  ThreadPool pool_{1};
  const ModelConfig model_ = SmallModel();
  const LoraConfig config_{.rank = 2, .alpha = 4.0f, .targets = {"q_proj", "down_proj"}};
  Parameters parameters_ = RandomParameters(model_, 1);
  LoraParameters lora_ = InitLora(model_, config_, 3);
  PolicyImage base_ = ImageOf(parameters_, WeightFormat::kBf16, &lora_, pool_);
};

TEST_F(AdapterUpdate, CostsAdaptersAndNothingElse) {
  for (auto& [name, tensor] : lora_.tensors)
    for (float& value : tensor.data) value += 0.01f;
  const PolicyImage next = ImageOf(parameters_, WeightFormat::kBf16, &lora_, pool_, &base_);
  const Bytes patch = EncodePatch(base_, next, pool_).value();
  std::uint64_t adapters = 0;
  for (const auto& [name, tensor] : lora_.tensors) adapters += tensor.size() * sizeof(float);
  EXPECT_LT(patch.size(), adapters + 100 * lora_.tensors.size() + 100);
  const PolicyManifest manifest = MakeManifest(Facts(next), patch, pool_);
  const auto image = ImageFrom(manifest, patch, base_.Form(), &base_, pool_);
  ASSERT_TRUE(image) << image.error().what;
  EXPECT_TRUE(SameBits(*image, next));
  for (const auto& [name, tensor] : image->tensors())
    EXPECT_EQ(tensor == base_.tensors().at(name), !IsAdapterTensor(name)) << name;
  const LoraParameters back = LoraOf(*image, model_, config_).value();
  ASSERT_EQ(back.tensors.size(), lora_.tensors.size());
  for (const auto& [name, tensor] : back.tensors)
    EXPECT_EQ(tensor.data, lora_.tensors.at(name).data) << name;
}

// A trainer that promises frozen base weights cannot move them under the same promise.
TEST_F(AdapterUpdate, ThatMovesBaseWeightsIsRefused) {
  parameters_.at("model.norm.weight").data[0] = 3.0f;
  const PolicyImage next = ImageOf(parameters_, WeightFormat::kBf16, &lora_, pool_);
  const Bytes patch = EncodePatch(base_, next, pool_).value();
  PolicyManifest manifest = MakeManifest(Facts(next), patch, pool_);
  const auto refused = ImageFrom(manifest, patch, base_.Form(), &base_, pool_);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().blame, Blame::kPeer);
  EXPECT_NE(refused.error().what.find("model.norm.weight"), std::string::npos);
  manifest.kind = PolicyKind::kDelta;
  EXPECT_TRUE(ImageFrom(manifest, patch, base_.Form(), &base_, pool_));
}

TEST_F(AdapterUpdate, OtherRanksAreAnotherPolicy) {
  LoraConfig wider = config_;
  wider.rank = 4;
  EXPECT_EQ(LoraOf(base_, model_, wider).error().blame, Blame::kOperator);
  EXPECT_NE(FormOf(model_, WeightFormat::kBf16, &wider), base_.Form());
}

}  // namespace
}  // namespace waggle
