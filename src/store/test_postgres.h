// A PostgreSQL server of the tests' own, in a temporary folder, on a Unix socket only.
#pragma once

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "base/check.h"

namespace waggle {

class TestPostgres {
 public:
  TestPostgres() {
    char name[] = "/tmp/waggle_pg.XXXXXX";
    Check(::mkdtemp(name) != nullptr, "a temporary folder can be made");
    folder_ = name;
    if (::geteuid() == 0) Must("chown postgres " + folder_);
    Must(AsServer(kBin + "initdb -D " + folder_ +
                  "/data -U waggle --auth=trust --no-sync --no-instructions"));
    Must(AsServer(kBin + "pg_ctl -D " + folder_ + "/data -l " + folder_ +
                  "/log -w -o \"-c listen_addresses='' -c unix_socket_directories=" + folder_ +
                  " -c fsync=off\" start"));
  }
  ~TestPostgres() {
    static_cast<void>(Run(AsServer(kBin + "pg_ctl -D " + folder_ + "/data -m immediate -w stop")));
    std::filesystem::remove_all(folder_);
  }

  // A database of its own for each caller.
  std::string NewDatabase() {
    const std::string name = "run" + std::to_string(++databases_);
    Must(kBin + "createdb -h " + folder_ + " -U waggle " + name);
    return "postgresql://waggle@/" + name + "?host=" + folder_;
  }
  // As a power cut: connections break, what was committed is still there.
  void Crash() {
    Must(AsServer(kBin + "pg_ctl -D " + folder_ + "/data -m immediate -w restart -l " + folder_ +
                  "/log"));
  }

 private:
  inline static const std::string kBin = "/usr/lib/postgresql/15/bin/";

  // The server refuses to be root.
  static std::string AsServer(const std::string& command) {
    return ::geteuid() == 0 ? "setpriv --reuid=postgres --regid=postgres --clear-groups " + command
                            : command;
  }
  static int Run(const std::string& command) {
    return std::system(("cd / && " + command + " >/dev/null 2>&1").c_str());
  }
  static void Must(const std::string& command) {
    Check(Run(command) == 0, "the tests' PostgreSQL (package postgresql) does: " + command);
  }

  std::string folder_;
  int databases_ = 0;
};

}  // namespace waggle
