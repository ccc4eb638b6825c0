#include "support/Progress.h"

#include "llvm/Support/Format.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/Process.h"
#include "llvm/Support/raw_ostream.h"

#include <chrono>

namespace ingot {

static double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

Progress::Progress(ProgressForm form)
    : form(form), terminal(form != ProgressForm::json && form != ProgressForm::none &&
                           llvm::sys::Process::StandardErrIsDisplayed()) {}

Progress::~Progress() {
  std::lock_guard lock(mutex);
  finishStage();
  if (terminal)
    llvm::errs() << "\r\033[K";
}

void Progress::finishStage() {
  if (form == ProgressForm::times && !name.empty())
    llvm::errs() << (terminal ? "\r\033[K" : "") << llvm::format("%6.2f s  ", now() - started)
                 << name << "\n";
}

void Progress::stage(llvm::StringRef next, uint64_t units) {
  std::lock_guard lock(mutex);
  finishStage();
  name = next.str();
  total = units;
  done = 0;
  started = now();
  draw(true);
}

void Progress::advance(uint64_t units) {
  std::lock_guard lock(mutex);
  done += units;
  draw(done == total);
}

void Progress::note(llvm::StringRef text) {
  if (form == ProgressForm::times)
    warn(text);
}

void Progress::warn(llvm::StringRef text) {
  std::lock_guard lock(mutex);
  if (form == ProgressForm::json) {
    llvm::errs() << llvm::json::Value(llvm::json::Object{{"note", llvm::json::fixUTF8(text)}})
                 << "\n";
    return;
  }
  llvm::errs() << (terminal ? "\r\033[K" : "") << text << "\n";
  if (!name.empty())
    draw(true);
}

void Progress::draw(bool force) {
  if (form == ProgressForm::json)
    return write(force);
  if (!terminal || (!force && now() - drawn < 0.05))
    return;
  drawn = now();
  llvm::errs() << "\r\033[K" << name;
  if (total) {
    constexpr int width = 30;
    const int filled = static_cast<int>(double(done) / double(total) * width);
    llvm::errs() << " [" << std::string(filled, '=') << std::string(width - filled, ' ') << "] "
                 << llvm::format("%3d %%", static_cast<int>(100.0 * double(done) / double(total)));
  }
}

void Progress::write(bool force) {
  if (name.empty() || (!force && now() - drawn < 0.05))
    return;
  drawn = now();
  llvm::errs() << llvm::json::Value(llvm::json::Object{
                      {"stage", llvm::json::fixUTF8(name)}, {"done", done}, {"total", total}})
               << "\n";
}

} // namespace ingot
