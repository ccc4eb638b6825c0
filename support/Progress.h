// A progress line for long work: a bar on a terminal, nothing where standard error is not one; or
// lines for a program that reads standard error.
#pragma once

#include "llvm/ADT/StringRef.h"

#include <mutex>
#include <string>

namespace ingot {

enum class ProgressForm : uint8_t {
  bar,
  times, ///< each stage also leaves a line with its time
  none,
  json, ///< {"stage": NAME, "done": units, "total": units} a line, or {"note": TEXT}
};

/// Thread-safe. Stages follow each other; the line is erased when the object dies.
class Progress {
public:
  explicit Progress(ProgressForm form = ProgressForm::bar);
  ~Progress();
  /// Starts a stage of `total` units of work (0: unknown).
  void stage(llvm::StringRef name, uint64_t total = 0);
  void advance(uint64_t units = 1);
  /// Leaves a line above the bar: with times, or always.
  void note(llvm::StringRef text);
  void warn(llvm::StringRef text);

private:
  void finishStage();
  void draw(bool force);
  void write(bool force);

  std::mutex mutex;
  std::string name;
  uint64_t total = 0, done = 0;
  ProgressForm form;
  bool terminal;
  double started = 0, drawn = 0;
};

} // namespace ingot
