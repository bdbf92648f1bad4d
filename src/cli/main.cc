#include "cli/command.h"

int main(int argc, char** argv) { return waggle::RunCommandLine(argc, argv); }
