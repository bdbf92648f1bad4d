// One training step, as a program sees it and as the trainer takes it.
#pragma once

#include <cmath>

#include "model/backward.h"
#include "proofs/dispute/ground.h"
#include "proofs/dispute/test_programs.h"

namespace waggle::testing_dispute {

struct StepCase {
  RunModel model;
  RunProgram run;
  StepSpec spec;
  std::vector<HostTensor> data;
  std::vector<HostTensor> state[3];  // w, m, v
  Parameters masters, m, v;
  testing_models::Problem problem;
  std::vector<float> u_entropy;
  double clip = 0.25, beta1_power = 0.9 * 0.9, beta2_power = 0.95 * 0.95;  // the second step

  StepCase(const ModelConfig& config, const NumericsConfig& numerics,
           const std::vector<std::size_t>& lengths, float temperature, bool clips,
           bool entropy = false)
      : model{config, numerics},
        masters(testing_models::AnswerParameters(config)),
        problem(testing_models::MakeProblem(lengths, temperature, config.vocab)) {
    run.kind = DisputeKind::kTraining;
    run.clip = clips;
    spec.entropy = entropy;
    if (entropy) u_entropy = testing_models::RndArray(900, problem.u.size(), 0.1f);
    const auto bits = std::bit_cast<std::uint64_t>(clip);
    run.clip_low = static_cast<std::uint32_t>(bits);
    run.clip_high = static_cast<std::uint32_t>(bits >> 32);
    run.beta1 = Word(0.9f);
    run.beta2 = Word(0.95f);
    run.eps = Word(1e-8f);
    std::uint32_t stream = 500;
    for (const StateEntry& entry : StateOf(config, {})) {
      Tensor& first = m[entry.name] = masters.at(entry.name);
      Tensor& second = v[entry.name] = masters.at(entry.name);
      for (std::size_t i = 0; i < first.data.size(); ++i) {
        first.data[i] = 0.01f * testing_models::Rnd(stream, i);
        second.data[i] = std::fabs(0.001f * testing_models::Rnd(stream + 1, i));
      }
      stream += 2;
      state[0].push_back(Copy(entry.type, masters.at(entry.name)));
      state[1].push_back(Copy(entry.type, first));
      state[2].push_back(Copy(entry.type, second));
      spec.weight_decay.push_back(Word(entry.type.dims.size() > 1 ? 0.1f : 0.0f));
    }
    spec.lr = Word(1e-3f);
    spec.c1 = Word(static_cast<float>(1.0 / (1.0 - beta1_power)));
    spec.c2 = Word(static_cast<float>(1.0 / (1.0 - beta2_power)));
    for (std::size_t s = 0; s < lengths.size(); ++s) AddSample(s, temperature);
    std::vector<Digest256> roots;
    for (const HostTensor& tensor : data) roots.push_back(TensorRoot(tensor));
    spec.data = DataRoot(roots);
  }

  ProgramInputs Inputs() const {
    return {[this](std::uint32_t i, std::uint8_t slot) { return &state[slot][i]; }, data};
  }

  Parameters TrainersStep(ThreadPool& pool) const {
    const auto working =
        testing_models::MakeModel(model.config, masters, BestOps(), model.numerics);
    const auto gradients =
        testing_models::RunBackwardOnce(*working, pool, problem, Recompute::kNone, u_entropy)
            .gradients;
    const double norm = GradientNorm(BestOps(), pool, gradients);
    Parameters p = masters, first = m, second = v;
    std::size_t i = 0;
    for (auto& [name, tensor] : p) {
      AdamWArgs args;
      args.p = tensor.data.data();
      args.m = first.at(name).data.data();
      args.v = second.at(name).data.data();
      args.g = gradients.at(name).data.data();
      args.n = tensor.data.size();
      args.lr = 1e-3f;
      args.beta1 = 0.9f;
      args.beta2 = 0.95f;
      args.eps = 1e-8f;
      args.weight_decay = std::bit_cast<float>(spec.weight_decay[i++]);
      args.c1 = static_cast<float>(1.0 / (1.0 - beta1_power));
      args.c2 = static_cast<float>(1.0 / (1.0 - beta2_power));
      args.scale_grad = run.clip;
      args.grad_scale = run.clip ? static_cast<float>(std::min(1.0, clip / (norm + 1e-6))) : 1.0f;
      BestOps().AdamW(pool, args);
    }
    return p;
  }

 private:
  static std::uint32_t Word(float x) { return std::bit_cast<std::uint32_t>(x); }
  static HostTensor Copy(const TensorType& type, const Tensor& from) {
    HostTensor tensor = HostTensor::Zero(type);
    tensor.data = from.data;
    return tensor;
  }
  void AddSample(std::size_t s, float temperature) {
    const std::uint32_t begin = problem.batch.offsets[s], end = problem.batch.offsets[s + 1];
    spec.rows.push_back(end - begin);
    spec.inv_temperature.push_back(Word(1.0f / temperature));
    HostTensor tokens = HostTensor::Zero({Element::kI32, {end - begin}}), targets = tokens,
               u = HostTensor::Zero({Element::kF32, {end - begin}});
    for (std::uint32_t i = begin; i < end; ++i) {
      tokens.SetCell(i - begin, static_cast<std::uint32_t>(problem.batch.tokens[i]));
      targets.SetCell(i - begin, static_cast<std::uint32_t>(problem.targets.target[i]));
      u.SetCell(i - begin, Word(problem.u[i]));
    }
    for (HostTensor* tensor : {&tokens, &targets, &u}) data.push_back(std::move(*tensor));
    if (!spec.entropy) return;
    HostTensor weights = HostTensor::Zero({Element::kF32, {end - begin}});
    for (std::uint32_t i = begin; i < end; ++i) weights.SetCell(i - begin, Word(u_entropy[i]));
    data.push_back(std::move(weights));
  }
};

}  // namespace waggle::testing_dispute
