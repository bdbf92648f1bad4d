// Tokenizer throughput on one core, in MB/s of text. Usage: tokenizer_bench [TEXT_FILE
// [TOKENIZER...]] Without arguments: words drawn from a small made-up language, and a BPE of 4096
// tokens trained on them.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/philox.h"
#include "tokenizer/tokenizer.h"

namespace {

using waggle::TokenId;
using waggle::Tokenizer;

// Best of five, in seconds.
template <class Body>
double Seconds(Body body) {
  double best = 1e9;
  for (int i = 0; i < 5; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    body();
    best = std::min(
        best, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  return best;
}

std::string MadeUpText(std::size_t bytes) {
  waggle::Rng rng(1);
  std::vector<std::string> words(5000);
  for (std::string& word : words) {
    for (std::uint32_t n = 1 + rng.Below(4); n > 0; --n) {
      word += "bcdfghklmnprst"[rng.Below(14)];
      word += "aeiou"[rng.Below(5)];
    }
  }
  std::string text;
  while (text.size() < bytes) {
    // The minimum of two draws: small indices are frequent, as in a language.
    text += words[std::min({rng.Below(5000), rng.Below(5000), rng.Below(5000)})];
    text += rng.Below(12) == 0 ? ".\n" : " ";
  }
  return text;
}

void Measure(const std::string& name, const Tokenizer& tokenizer, const std::string& text) {
  std::vector<TokenId> ids;
  std::string back;
  const double megabytes = static_cast<double>(text.size()) * 1e-6;
  const double encode = Seconds([&] { ids = tokenizer.Encode(text); });
  const double decode = Seconds([&] { back = tokenizer.Decode(ids); });
  std::size_t lines = 0;
  const double short_texts = Seconds([&] {
    lines = 0;
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t end = std::min(text.find('\n', at), text.size() - 1) + 1;
      lines += !tokenizer.Encode(std::string_view(text).substr(at, end - at)).empty();
      at = end;
    }
  });
  std::printf(
      "%-32s vocab %7zu  %.2f bytes/token  encode %6.1f MB/s  by line %6.1f MB/s  decode %6.1f "
      "MB/s%s\n",
      name.c_str(), tokenizer.vocab_size(),
      static_cast<double>(text.size()) / static_cast<double>(ids.size()), megabytes / encode,
      megabytes / short_texts, megabytes / decode, back == text ? "" : "  (not a round trip)");
}

}  // namespace

int main(int argc, char** argv) {
  std::string text;
  if (argc > 1) {
    auto file = waggle::ReadFile(argv[1], 1u << 28);
    if (!file) return std::fprintf(stderr, "%s\n", file.error().what.c_str()), 2;
    text = std::move(*file);
  } else {
    text = MadeUpText(1 << 20);
  }
  if (text.empty()) return std::fprintf(stderr, "no text\n"), 2;
  for (int i = 2; i < argc; ++i) {
    const auto tokenizer = Tokenizer::Load(argv[i]);
    if (!tokenizer) return std::fprintf(stderr, "%s\n", tokenizer.error().what.c_str()), 2;
    const double load = Seconds([&] { (void)Tokenizer::Load(argv[i]); });
    std::printf("load %.0f ms\n", load * 1e3);
    Measure(argv[i], *tokenizer, text);
  }
  if (argc <= 2) {
    const std::string documents[] = {text};
    const auto begin = std::chrono::steady_clock::now();
    const auto tokenizer = waggle::TrainBpe(documents, {.vocab_size = 4096});
    if (!tokenizer) return std::fprintf(stderr, "%s\n", tokenizer.error().what.c_str()), 2;
    const double train =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    std::printf("trained in %.2f s (%.1f MB/s)\n", train,
                static_cast<double>(text.size()) * 1e-6 / train);
    Measure("trained here", *tokenizer, text);
  }
  return 0;
}
