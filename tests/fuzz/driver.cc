// A small deterministic stand-in for libFuzzer, so that every build runs every fuzz target for a
// moment: each file of the corpus as it is, then mutations of it (bit flips, cuts, splices, number
// edits) from a fixed seed. Usage: x_fuzz CORPUS_DIR [MUTATIONS]. The WAGGLE_FUZZ build replaces
// this file by libFuzzer.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "base/philox.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

using Bytes = std::vector<std::uint8_t>;

std::vector<Bytes> ReadCorpus(const char* directory) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    if (entry.is_regular_file()) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  std::vector<Bytes> corpus;
  for (const auto& file : files) {
    std::ifstream in(file, std::ios::binary);
    corpus.emplace_back(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
  }
  return corpus;
}

void MutateOnce(Bytes& input, const std::vector<Bytes>& corpus, waggle::Rng& rng) {
  const auto pick = [&] { return rng.Below(static_cast<std::uint32_t>(input.size())); };
  if (input.empty()) {
    input.push_back(static_cast<std::uint8_t>(rng.NextU32()));
    return;
  }
  switch (rng.Below(6)) {
    case 0:
      input[pick()] ^= static_cast<std::uint8_t>(1u << rng.Below(8));
      break;
    case 1:
      input[pick()] = static_cast<std::uint8_t>(rng.NextU32());
      break;
    case 2:
      input.resize(pick());
      break;
    case 3: {  // repeat a piece
      const std::size_t begin = pick(), length = std::min<std::size_t>(input.size() - begin, 16);
      const Bytes piece(input.begin() + begin, input.begin() + begin + length);
      input.insert(input.begin() + begin, piece.begin(), piece.end());
      break;
    }
    case 4: {  // splice with another seed
      const Bytes& other = corpus[rng.Below(static_cast<std::uint32_t>(corpus.size()))];
      if (other.empty()) break;
      const std::size_t from = rng.Below(static_cast<std::uint32_t>(other.size()));
      input.resize(pick());
      input.insert(input.end(), other.begin() + from, other.end());
      break;
    }
    case 5: {  // blow a digit up
      for (std::size_t i = pick(); i < input.size(); ++i) {
        if (input[i] < '0' || input[i] > '9') continue;
        const std::string digits = "99999999999999999999";
        input.insert(input.begin() + i, digits.begin(), digits.begin() + 1 + rng.Below(20));
        break;
      }
      break;
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2 || !std::filesystem::is_directory(argv[1])) {
    std::fprintf(stderr, "usage: %s CORPUS_DIR [MUTATIONS]\n", argv[0]);
    return 2;
  }
  const long mutations = argc > 2 ? std::atol(argv[2]) : 2000;
  const std::vector<Bytes> corpus = ReadCorpus(argv[1]);
  if (corpus.empty()) {
    std::fprintf(stderr, "%s: no seeds in %s\n", argv[0], argv[1]);
    return 2;
  }
  for (const Bytes& seed : corpus) LLVMFuzzerTestOneInput(seed.data(), seed.size());
  waggle::Rng rng(/*seed=*/20240601);
  for (long i = 0; i < mutations; ++i) {
    Bytes input = corpus[rng.Below(static_cast<std::uint32_t>(corpus.size()))];
    for (std::uint32_t edits = 1 + rng.Below(4); edits > 0; --edits) MutateOnce(input, corpus, rng);
    LLVMFuzzerTestOneInput(input.data(), input.size());
  }
  std::printf("%zu seeds, %ld mutations\n", corpus.size(), mutations);
  return 0;
}
