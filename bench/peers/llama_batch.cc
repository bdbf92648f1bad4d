// Decodes sequences of one GGUF model together with libllama and prints tokens per second; greedy
// work on the logits is not part of it.  llama_batch MODEL [sequences prompt tokens threads]
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <vector>

#include "llama.h"

static double Now(bool cpu) {
  timespec t;
  clock_gettime(cpu ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

int main(int argc, char** argv) {
  const auto number = [&](int i, int otherwise) {
    return argc > i ? std::atoi(argv[i]) : otherwise;
  };
  const int sequences = number(2, 64), prompt = number(3, 16), tokens = number(4, 64),
            threads = number(5, 1);
  llama_backend_init();
  llama_model* model = llama_model_load_from_file(argv[1], llama_model_default_params());
  if (model == nullptr) return 1;
  llama_context_params params = llama_context_default_params();
  params.n_ctx = static_cast<unsigned>(sequences * (prompt + tokens));
  params.n_batch = params.n_ubatch = 512;
  params.n_seq_max = static_cast<unsigned>(sequences);
  params.n_threads = params.n_threads_batch = threads;
  params.flash_attn = false;
  params.type_k = params.type_v = GGML_TYPE_F16;
  llama_context* context = llama_init_from_model(model, params);
  llama_batch batch = llama_batch_init(512, 0, 1);
  const auto add = [&](int token, int position, int sequence, bool logits) {
    const int i = batch.n_tokens++;
    batch.token[i] = token, batch.pos[i] = position, batch.n_seq_id[i] = 1;
    batch.seq_id[i][0] = sequence, batch.logits[i] = logits;
  };
  const auto run = [&] {
    if (llama_decode(context, batch) != 0) std::exit(1);
    llama_synchronize(context);
    batch.n_tokens = 0;
  };
  const bool cpu = threads == 1;
  const double begin = Now(cpu);
  for (int s = 0; s < sequences; ++s) {
    for (int i = 0; i < prompt; ++i) add((s * 7919 + i * 1049 + 17) % 30011, i, s, i + 1 == prompt);
    if (batch.n_tokens + prompt > 512 || s + 1 == sequences) run();
  }
  const double prefilled = Now(cpu);
  for (int t = 0; t + 1 < tokens; ++t) {
    for (int s = 0; s < sequences; ++s) add((t * 31 + s) % 30011, prompt + t, s, true);
    run();
  }
  const double done = Now(cpu);
  std::printf("llama.cpp prefill_tokens_per_s %.1f decode_tokens_per_s %.1f\n",
              sequences * prompt / (prefilled - begin),
              sequences * (tokens - 1) / (done - prefilled));
  return 0;
}
