// A kernel for another machine, in a process of its own that an emulator runs.
#pragma once

#include "targets/Target.h"
#include "test/codegen/halide/driver.h"

#include <sys/types.h>

namespace ingot::test {

class EmulatedKernel {
public:
  /// True where there is a driver for such machines.
  static bool drives(const Machine &machine);
  /// The path of what runs programs for `target`, "" when there is none.
  static std::string emulator(const Target &target);

  /// `object` defines `symbol`. Fails the current test where it cannot be linked or started.
  EmulatedKernel(const std::string &object, const std::string &symbol, const Target &target) {
    start(object, symbol, target);
  }
  ~EmulatedKernel();
  explicit operator bool() const { return process > 0; }

  /// `buffers`: call.buffers pointers to call.bytes each, read and written. False: it failed.
  bool run(const driver_call &call, uint8_t *const *buffers, int32_t *result);

private:
  void start(const std::string &object, const std::string &symbol, const Target &target);

  pid_t process = -1;
  int to = -1, from = -1;
};

} // namespace ingot::test
