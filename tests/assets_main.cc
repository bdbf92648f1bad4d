// main() of the tests that read third-party assets ($WAGGLE_ASSETS). Exit code 77 tells ctest "not
// run".
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  const char* assets = std::getenv("WAGGLE_ASSETS");
  if (assets == nullptr || !std::filesystem::is_directory(assets)) {
    std::printf("not run: no assets folder (set WAGGLE_ASSETS)\n");
    return 77;
  }
  return RUN_ALL_TESTS();
}
