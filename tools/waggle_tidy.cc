// House rules that a compiler does not know, as two tests:
//   waggle-tidy layers ROOT   every #include "folder/..." under src/ is allowed by the
//   waggle_library() line of its folder waggle-tidy tidy ROOT     banned constructs, long
//   functions, long files; exemptions in tools/tidy_exempt.txt, each
//                             "path rule reason", and one that is no longer needed is itself an
//                             error
// Exit code 1 and one line per finding when something is wrong.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace fs = std::filesystem;

namespace {

constexpr std::size_t kFileLinesMax = 600, kFunctionLinesMax = 70;

struct Ban {
  const char* text;  // literal
  const char* instead;
  const char* allowed;  // path prefixes where it is fine, separated by ' '
};
constexpr Ban kBans[] = {
    {"system_clock", "base/clock.h, passed in", ""},
    {"steady_clock", "base/clock.h, passed in", "bench/"},
    {"_distribution<", "base/philox.h (std distributions differ between libraries)", ""},
    {"std::random_device", "a seed from the recipe, and base/philox.h", ""},
    {"std::mt19937", "base/philox.h", ""},
    {"std::exp(", "kernels/math.h (libm differs between versions, so replay breaks)", "bench/"},
    {"std::log(", "kernels/math.h", "bench/"},
    {"std::pow(", "kernels/math.h", ""},
    {"std::sin(", "kernels/math.h", ""},
    {"std::cos(", "kernels/math.h", ""},
    {"std::tanh(", "kernels/math.h", ""},
    {"-ffast-math", "nothing: results must not depend on the optimiser", ""},
    {"using namespace std;", "qualified names", ""},
    {"assert(", "Check(), on in every build", ""},
};

std::vector<std::string> ReadLines(const fs::path& path) {
  std::ifstream in(path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

bool IsSource(const fs::path& path) {
  return path.extension() == ".cc" || path.extension() == ".h";
}
bool IsTest(const std::string& path) {
  return path.find("_test.cc") != std::string::npos || path.rfind("tests/", 0) == 0;
}

std::vector<fs::path> SourcesUnder(const fs::path& root, const std::vector<std::string>& folders) {
  std::vector<fs::path> found;
  for (const auto& folder : folders) {
    if (!fs::exists(root / folder)) continue;
    for (const auto& entry : fs::recursive_directory_iterator(root / folder)) {
      if (entry.is_regular_file() && IsSource(entry.path())) found.push_back(entry.path());
    }
  }
  std::sort(found.begin(), found.end());
  return found;
}

// folder -> folders it may include, from the lines waggle_library(name DEPS a b LIBS x).
std::map<std::string, std::set<std::string>> ReadLayers(const fs::path& root) {
  std::map<std::string, std::set<std::string>> layers;
  const std::regex pattern(R"(^waggle_library\((\w+)\s+DEPS([^)]*)\))");
  for (const auto& line : ReadLines(root / "CMakeLists.txt")) {
    std::smatch match;
    if (!std::regex_search(line, match, pattern)) continue;
    auto& allowed = layers[match[1]];
    allowed.insert(match[1]);
    std::istringstream words(match[2].str());
    for (std::string word; words >> word && word != "LIBS";) allowed.insert(word);
  }
  return layers;
}

int CheckLayers(const fs::path& root) {
  const auto layers = ReadLayers(root);
  if (layers.empty()) {
    fmt::print("layers: no waggle_library() lines in {}\n", (root / "CMakeLists.txt").string());
    return 1;
  }
  int findings = 0;
  const std::regex include(R"(^\s*#\s*include\s+"(\w+)/)");
  for (const auto& file : SourcesUnder(root, {"src"})) {
    const std::string folder = fs::relative(file, root / "src").begin()->string();
    const auto own = layers.find(folder);
    const auto lines = ReadLines(file);
    for (std::size_t i = 0; i < lines.size(); ++i) {
      std::smatch match;
      if (!std::regex_search(lines[i], match, include)) continue;
      const std::string target = match[1];
      if (own != layers.end() && (own->second.contains(target) || !layers.contains(target)))
        continue;
      fmt::print("{}:{}: {}/ may not include {}/\n", fs::relative(file, root).string(), i + 1,
                 folder, target);
      ++findings;
    }
  }
  return findings > 0 ? 1 : 0;
}

class Exemptions {
 public:
  explicit Exemptions(const fs::path& root) {
    for (const auto& line : ReadLines(root / "tools/tidy_exempt.txt")) {
      std::istringstream words(line);
      std::string path, rule, reason;
      if (!(words >> path) || path[0] == '#') continue;
      words >> rule;
      std::getline(words, reason);
      if (reason.empty()) fmt::print("tools/tidy_exempt.txt: '{} {}' has no reason\n", path, rule);
      unused_.insert(path + " " + rule);
    }
    all_ = unused_;
  }
  bool Allows(const std::string& path, std::string_view rule) {
    const std::string key = fmt::format("{} {}", path, rule);
    unused_.erase(key);
    return all_.contains(key);
  }
  const std::set<std::string>& unused() const { return unused_; }

 private:
  std::set<std::string> all_, unused_;
};

struct Finding {
  std::size_t line;
  std::string rule, text;
};

std::string WithoutComment(const std::string& line) { return line.substr(0, line.find("//")); }

void FindBans(const std::string& path, const std::vector<std::string>& lines,
              std::vector<Finding>& findings) {
  for (const Ban& ban : kBans) {
    bool allowed = IsTest(path);
    std::istringstream prefixes(ban.allowed);
    for (std::string prefix; prefixes >> prefix;) allowed |= path.rfind(prefix, 0) == 0;
    if (allowed) continue;
    for (std::size_t i = 0; i < lines.size(); ++i) {
      const std::string code = WithoutComment(lines[i]);
      const std::size_t at = code.find(ban.text);
      if (at == std::string::npos) continue;
      // A longer identifier that merely ends in the banned word is something else (static_assert).
      if (at > 0 &&
          (std::isalnum(static_cast<unsigned char>(code[at - 1])) || code[at - 1] == '_') &&
          ban.text[0] != '_' && ban.text[0] != '-') {
        continue;
      }
      findings.push_back(
          {i + 1, "ban", fmt::format("'{}' is banned, use {}", ban.text, ban.instead)});
    }
  }
}

// A function ends at a line that is exactly "}"; it begins at the nearest line above that ends in
// "{" and starts in column 0 (namespaces are not indented, so only free functions and out-of-class
// members are seen; class bodies end in "};").
void FindLongFunctions(const std::vector<std::string>& lines, std::vector<Finding>& findings) {
  std::size_t begin = 0;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const std::string& line = lines[i];
    const bool top_level = !line.empty() && line[0] != ' ' && line[0] != '#' && line[0] != '/';
    if (top_level && line[0] != '}' && line[0] != ')') begin = i;
    if (line != "}") continue;
    const std::size_t length = i - begin + 1;
    if (length > kFunctionLinesMax) {
      findings.push_back(
          {begin + 1, "function",
           fmt::format("function of {} lines, the limit is {}", length, kFunctionLinesMax)});
    }
  }
}

int CheckTidy(const fs::path& root) {
  Exemptions exemptions(root);
  int count = 0;
  for (const auto& file : SourcesUnder(root, {"src", "tools", "bench", "tests"})) {
    const std::string path = fs::relative(file, root).generic_string();
    if (path == "tools/waggle_tidy.cc") continue;  // names every ban
    const auto lines = ReadLines(file);
    std::vector<Finding> findings;
    if (lines.size() > kFileLinesMax) {
      findings.push_back(
          {1, "file",
           fmt::format("file of {} lines, the limit is {}", lines.size(), kFileLinesMax)});
    }
    if (file.extension() == ".h" &&
        std::find(lines.begin(), lines.end(), "#pragma once") == lines.end() &&
        path.find("-inl.h") == std::string::npos) {
      findings.push_back({1, "pragma", "header without #pragma once"});
    }
    FindBans(path, lines, findings);
    if (!IsTest(path)) FindLongFunctions(lines, findings);
    for (const Finding& finding : findings) {
      if (exemptions.Allows(path, finding.rule)) continue;
      fmt::print("{}:{}: {}\n", path, finding.line, finding.text);
      ++count;
    }
  }
  for (const auto& unused : exemptions.unused()) {
    fmt::print("tools/tidy_exempt.txt: '{}' is no longer needed\n", unused);
    ++count;
  }
  return count > 0 ? 1 : 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view mode = argc > 2 ? argv[1] : "";
  if (mode == "layers") return CheckLayers(argv[2]);
  if (mode == "tidy") return CheckTidy(argv[2]);
  fmt::print("usage: waggle-tidy layers|tidy ROOT\n");
  return 2;
}
