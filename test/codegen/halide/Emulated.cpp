#include "test/codegen/halide/Emulated.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FileUtilities.h"
#include "llvm/Support/Program.h"
#include "llvm/Support/raw_ostream.h"

#include "gtest/gtest.h"

#include <csignal>
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace ingot;
using namespace ingot::test;

namespace {

std::string driver(const Machine &machine) {
  return EMULATED_DRIVERS "/" + llvm::StringRef(machine.triple).split('-').first.str() + ".o";
}

/// Links the driver around a kernel, as programs are linked. The error is a sentence, empty on
/// success.
std::string link(const Target &target, const std::string &object, const std::string &symbol,
                 const std::string &program) {
  const std::string weights = program + ".weights";
  std::error_code error;
  llvm::raw_fd_ostream(weights, error).write_zeros(unsigned(target.weightsReserve()) + 64);
  llvm::Error failed =
      target.link({{driver(target.machine()), object, "--defsym=ingot_kernel=" + symbol},
                   weights,
                   64,
                   EMULATED_RUNTIME,
                   program,
                   program + ".scratch",
                   LinkForm::program,
                   ""});
  for (const char *left : {".weights", ".scratch", ".scratch.ld"})
    llvm::sys::fs::remove(program + left);
  return failed ? llvm::toString(std::move(failed)) : "";
}

bool transfer(int file, uint8_t *data, uint64_t bytes, bool in) {
  while (bytes) {
    const ssize_t count = in ? read(file, data, bytes) : write(file, data, bytes);
    if (count <= 0)
      return false;
    data += count;
    bytes -= uint64_t(count);
  }
  return true;
}

} // namespace

bool EmulatedKernel::drives(const Machine &machine) {
  return llvm::sys::fs::exists(driver(machine));
}

std::string EmulatedKernel::emulator(const Target &target) {
  const std::string command = target.emulator();
  const llvm::StringRef name = llvm::StringRef(command).split(' ').first;
  auto path = name.empty() ? std::make_error_code(std::errc::no_such_file_or_directory)
                           : llvm::sys::findProgramByName(name);
  return path ? *path : "";
}

void EmulatedKernel::start(const std::string &object, const std::string &symbol,
                           const Target &target) {
  llvm::SmallString<128> object_path, program;
  ASSERT_FALSE(llvm::sys::fs::createTemporaryFile("kernel", "o", object_path));
  llvm::FileRemover remove_object(object_path);
  ASSERT_FALSE(llvm::sys::fs::createTemporaryFile("kernel", "", program));
  llvm::FileRemover remove_program(program);
  std::error_code error;
  llvm::raw_fd_ostream(object_path, error) << object;
  ASSERT_FALSE(error);
  ASSERT_EQ(link(target, object_path.str().str(), symbol, program.str().str()), "");

  int in[2], out[2];
  ASSERT_EQ(pipe2(in, O_CLOEXEC), 0);
  ASSERT_EQ(pipe2(out, O_CLOEXEC), 0);
  std::signal(SIGPIPE, SIG_IGN); // a kernel that crashes is a failure, not the end of the test
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in[0], 0);
  posix_spawn_file_actions_adddup2(&actions, out[1], 1);
  // The machine itself: what it lacks is an illegal instruction.
  const std::string command = target.emulator();
  std::vector<std::string> words{emulator(target)};
  for (llvm::StringRef option : llvm::drop_begin(llvm::split(command, ' ')))
    words.push_back(option.str());
  words.push_back(program.str().str());
  std::vector<char *> arguments;
  for (std::string &word : words)
    arguments.push_back(word.data());
  arguments.push_back(nullptr);
  const int code =
      posix_spawn(&process, arguments[0], &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  close(in[0]);
  close(out[1]);
  to = in[1];
  from = out[0];
  if (code)
    process = -1;
  ASSERT_EQ(code, 0);
  // The program's file may go once the emulator has it, which is when it answers.
  driver_call nothing{};
  nothing.arguments = -1;
  int32_t ready;
  EXPECT_TRUE(run(nothing, nullptr, &ready));
}

EmulatedKernel::~EmulatedKernel() {
  if (to >= 0)
    close(to);
  if (from >= 0)
    close(from);
  if (process > 0)
    waitpid(process, nullptr, 0);
}

bool EmulatedKernel::run(const driver_call &call, uint8_t *const *buffers, int32_t *result) {
  auto *bytes = reinterpret_cast<uint8_t *>(const_cast<driver_call *>(&call));
  if (!transfer(to, bytes, sizeof call, false))
    return false;
  for (int32_t i = 0; i < call.buffers; ++i)
    if (!transfer(to, buffers[i], call.bytes[i], false))
      return false;
  if (!transfer(from, reinterpret_cast<uint8_t *>(result), sizeof *result, true))
    return false;
  for (int32_t i = 0; i < call.buffers; ++i)
    if (!transfer(from, buffers[i], call.bytes[i], true))
      return false;
  return true;
}
