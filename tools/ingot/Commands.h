// The commands of `ingot` besides `compile`. Each returns the exit code.
#pragma once

#include <string>

namespace ingot {

struct CompileOptions;
/// --json of `compile`: the files that were made.
void printCompiled(const CompileOptions &options, double seconds);

struct InspectOptions {
  std::string file, html;
  bool json = false;
};
int runInspect(const InspectOptions &options);

struct ReferenceOptions {
  std::string model, tokens, output, activations = "f32";
  bool json = false;
};
int runReference(const ReferenceOptions &options);

struct CompareOptions {
  std::string a, b, tokens, step = "score", isa_a, isa_b, json;
  std::string reduce, model; ///< module file to write; model file of A where B is a program
  std::string runtime_folder, cache_folder;
  double bound = 0;
};
/// 1 also where the two differ by more than the bound.
int runCompare(const CompareOptions &options);

int runTargets(bool json);

struct DoctorOptions {
  std::string runtime_folder, cache_folder;
  bool json = false;
};
/// 1 where something is missing that compiling needs.
int runDoctor(const DoctorOptions &options);

std::string defaultCacheFolder();

} // namespace ingot
