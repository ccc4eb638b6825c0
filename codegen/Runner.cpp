#include "codegen/Runner.h"

#include "support/Error.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Program.h"

namespace ingot {

llvm::Expected<std::vector<std::string>> runnerOf(const Target &target, llvm::StringRef option,
                                                  llvm::StringRef verb) {
  std::vector<std::string> command;
  if (target.runsHere())
    return command;
  const std::string runs_not =
      "programs for " + target.machine().name + " do not run on this machine";
  llvm::SmallVector<llvm::StringRef> words;
  const std::string emulator = target.emulator();
  llvm::SplitString(emulator, words);
  if (words.empty())
    return inputError("", option, runs_not);
  const std::string name = words.front().str();
  auto found = llvm::sys::findProgramByName(name);
  if (!found)
    return inputError("", option, runs_not + ", and " + name + " is not here either",
                      "install " + name + " (Debian: qemu-user), or " + verb +
                          " on a machine where they run");
  command.assign(words.begin(), words.end());
  command.front() = *found;
  return command;
}

} // namespace ingot
