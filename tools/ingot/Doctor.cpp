// ingot doctor: what is installed, which targets work here, and what to do about the rest.
#include "codegen/Runner.h"
#include "support/Error.h"
#include "targets/Target.h"
#include "tools/ingot/Commands.h"
#include "tools/ingot/InspectProgram.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Threading.h"
#include "llvm/Support/raw_ostream.h"
#include "llvm/TargetParser/Host.h"

#include <set>

namespace ingot {
namespace {

namespace fs = llvm::sys::fs;

enum class State : uint8_t { good, note, bad };

struct Finding {
  State state;
  std::string what, is, advice;
};

/// What programs of all targets are linked with.
Finding runtimeFiles(const std::string &folder) {
  std::set<std::string> missing;
  for (const TargetName &row : targetNames())
    for (const std::string &file : llvm::cantFail(makeTarget(row.name))->runtimeFiles()) {
      llvm::SmallString<128> path(folder + "/" + file);
      llvm::sys::path::remove_dots(path, /*remove_dot_dot=*/true);
      if (!fs::exists(path))
        missing.insert(path.str().str());
    }
  if (!missing.empty())
    return {State::bad, "runtime", llvm::join(missing, ", ") + " is missing",
            "install ingot again, with lib/ingot beside bin"};
  llvm::SmallString<128> real;
  fs::real_path(folder, real);
  return {State::good, "runtime", real.str().str(), ""};
}

Finding kernelCache(const std::string &folder) {
  if (folder.empty())
    return {State::note, "kernel cache", "there is no home folder to keep it in",
            "name one: ingot compile --cache FOLDER"};
  // What a compile would do.
  if (fs::create_directories(folder) || fs::access(folder, fs::AccessMode::Write))
    return {State::bad, "kernel cache", folder + " cannot be written",
            "change its permissions, or name another: ingot compile --cache FOLDER"};
  uint64_t bytes = 0, files = 0;
  std::error_code error;
  for (fs::recursive_directory_iterator at(folder, error), end; at != end && !error;
       at.increment(error)) {
    auto status = at->status();
    if (status && status->type() == fs::file_type::regular_file)
      bytes += status->getSize(), ++files;
  }
  return {State::good, "kernel cache",
          folder + ": " + std::to_string(files) + " files, " + mebibytes(bytes), ""};
}

Finding targetState(const TargetName &row) {
  const auto target = llvm::cantFail(makeTarget(row.name));
  auto command = runnerOf(*target, "", "verify");
  if (command)
    return {State::good, row.name, command->empty() ? "runs here" : "runs in " + command->front(),
            ""};
  Finding finding{State::note, row.name, "compiles, does not run here", ""};
  llvm::handleAllErrors(command.takeError(),
                        [&](const InputError &error) { finding.advice = error.help; });
  return finding;
}

} // namespace

int runDoctor(const DoctorOptions &options) {
  std::vector<Finding> findings{
      {State::good, "ingot", INGOT_VERSION, ""},
      {State::good, "processor",
       llvm::sys::getHostCPUName().str() + ", " +
           std::to_string(llvm::hardware_concurrency().compute_thread_count()) + " threads",
       ""},
      runtimeFiles(options.runtime_folder),
      kernelCache(options.cache_folder)};
  for (const TargetName &row : targetNames())
    findings.push_back(targetState(row));

  constexpr llvm::StringLiteral states[] = {"ok", "note", "error"};
  bool sound = true;
  llvm::json::Array rows;
  size_t width = 0;
  for (const Finding &finding : findings) {
    sound &= finding.state != State::bad;
    width = std::max(width, finding.what.size());
    rows.push_back(llvm::json::Object{{"what", finding.what},
                                      {"state", states[int(finding.state)]},
                                      {"is", finding.is},
                                      {"advice", finding.advice}});
  }
  if (options.json) {
    llvm::json::Object root{{"sound", sound}, {"findings", std::move(rows)}};
    llvm::outs() << llvm::formatv("{0:2}", llvm::json::Value(std::move(root))) << "\n";
    return sound ? 0 : 1;
  }
  for (const Finding &finding : findings) {
    llvm::outs() << llvm::left_justify(states[int(finding.state)], 7)
                 << llvm::left_justify(finding.what, width + 2) << finding.is << "\n";
    if (!finding.advice.empty())
      llvm::outs() << llvm::left_justify("", 7 + width + 2) << "help: " << finding.advice << "\n";
  }
  return sound ? 0 : 1;
}

} // namespace ingot
