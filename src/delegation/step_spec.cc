#include "delegation/step_spec.h"

#include <bit>

#include "base/check.h"

namespace waggle {
namespace {

std::uint32_t Word(float x) { return std::bit_cast<std::uint32_t>(x); }

HostTensor TensorOf(const StateEntry& entry, const Tensor& from) {
  HostTensor tensor = HostTensor::Zero(entry.type);
  Check(tensor.data.size() == from.data.size(), "a state has the shapes of its model");
  tensor.data = from.data;
  return tensor;
}

}  // namespace

std::vector<TrainingSample> ActiveRows(std::vector<TrainingSample> rows) {
  std::erase_if(rows, [](const TrainingSample& sample) { return !sample.CarriesGradient(); });
  return rows;
}

std::vector<HostTensor> DataTensors(const std::vector<TrainingSample>& rows) {
  std::vector<HostTensor> data;
  for (const TrainingSample& sample : rows) {
    const std::uint64_t n = sample.rows();
    HostTensor tokens = HostTensor::Zero({Element::kI32, {n}}), targets = tokens,
               u = HostTensor::Zero({Element::kF32, {n}});
    for (std::uint64_t i = 0; i < n; ++i) {
      tokens.SetCell(i, static_cast<std::uint32_t>(sample.tokens[i]));
      targets.SetCell(i, static_cast<std::uint32_t>(sample.target[i]));
      u.SetCell(i, Word(sample.u[i]));
    }
    for (HostTensor* tensor : {&tokens, &targets, &u}) data.push_back(std::move(*tensor));
  }
  return data;
}

std::vector<std::uint32_t> DecayOf(const Optimizer& optimizer, const ModelConfig& config) {
  std::vector<std::uint32_t> decay;
  for (const TensorSpec& spec : TensorSpecs(config))
    decay.push_back(Word(optimizer.WeightDecayOf(spec.name, spec.shape.size())));
  return decay;
}

StepSpec StepSpecOf(const std::vector<TrainingSample>& rows, const AdamWNumbers& numbers,
                    const std::vector<std::uint32_t>& decay) {
  StepSpec spec;
  std::vector<Digest256> roots;
  for (const TrainingSample& sample : rows) {
    spec.rows.push_back(static_cast<std::uint32_t>(sample.rows()));
    spec.inv_temperature.push_back(Word(1.0f / sample.temperature));
  }
  for (const HostTensor& tensor : DataTensors(rows)) roots.push_back(TensorRoot(tensor));
  spec.data = DataRoot(roots);
  spec.lr = Word(numbers.lr);
  spec.c1 = Word(numbers.c1);
  spec.c2 = Word(numbers.c2);
  spec.weight_decay = decay;
  return spec;
}

void PutBetas(const AdamWNumbers& numbers, RunProgram& run) {
  run.beta1 = Word(numbers.beta1);
  run.beta2 = Word(numbers.beta2);
  run.eps = Word(numbers.eps);
}

void PutClip(double clip, RunProgram& run) {
  run.clip = clip > 0;
  if (!run.clip) return;
  const auto bits = std::bit_cast<std::uint64_t>(clip);
  run.clip_low = static_cast<std::uint32_t>(bits);
  run.clip_high = static_cast<std::uint32_t>(bits >> 32);
}

Digest256 StateRootOf(const std::vector<StateEntry>& entries, const Parameters& w,
                      const Parameters& m, const Parameters& v, std::uint64_t step) {
  std::vector<StateRecord> records;
  for (const StateEntry& entry : entries)
    records.push_back({entry.name, TensorRoot(TensorOf(entry, w.at(entry.name))),
                       TensorRoot(TensorOf(entry, m.at(entry.name))),
                       TensorRoot(TensorOf(entry, v.at(entry.name))), step});
  return StateRoot(records);
}

Digest256 StateRootOf(const std::vector<StateEntry>& entries, const Trainer& trainer) {
  const OptimizerState& state = trainer.optimizer_state();
  return StateRootOf(entries, trainer.parameters(), state.m, state.v, trainer.step());
}

StepState StepStateOf(const std::vector<StateEntry>& entries, const Trainer& trainer) {
  const OptimizerState& moments = trainer.optimizer_state();
  StepState state;
  for (const StateEntry& entry : entries) {
    state.w.push_back(TensorOf(entry, trainer.parameters().at(entry.name)));
    state.m.push_back(TensorOf(entry, moments.m.at(entry.name)));
    state.v.push_back(TensorOf(entry, moments.v.at(entry.name)));
  }
  return state;
}

}  // namespace waggle
