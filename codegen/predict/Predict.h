// What a program will cost on a machine that is not here, from the machine model alone.
#pragma once

#include "codegen/Variants.h"
#include "runtime/manifest_generated.h"

#include "llvm/Support/JSON.h"
#include "llvm/Support/raw_ostream.h"

#include <string>
#include <vector>

namespace ingot {

/// What is predicted: as `PROGRAM --bench` measures it.
struct PredictRequest {
  int64_t prompt_tokens = 512; ///< in an empty context
  int64_t gen_tokens = 128;    ///< decoded one by one,
  int64_t depth = 0;           ///< after so many others
  int32_t threads = 1;
  std::string device; ///< only on this one of the machines that the target knows; empty: on all
};

/// All launches of one kernel: of a prompt, or of a decoded token.
struct KernelPrediction {
  std::string name;
  int64_t launches = 0;
  double nanoseconds = 0;
  double macs = 0, weight_bytes = 0, cache_bytes = 0, activation_bytes = 0;
  double memory_nanoseconds = 0; ///< that weights and caches need at the machine's bandwidth; on a
                                 ///< device, activations too
  double launch_nanoseconds = 0; ///< to begin and end it on a device
  NearUse near;                  ///< with sums of bytes; of a machine that has such memory

  KernelPrediction &operator+=(const KernelPrediction &other);
};

struct StepPrediction {
  std::vector<KernelPrediction> kernels; ///< the most expensive first
  KernelPrediction all;                  ///< sums
};

struct Prediction {
  std::string machine, isa;
  bool device = false; ///< not a processor: it has no threads, and its rates are bounds
  PredictRequest request;
  int64_t near_bytes = 0;         ///< Machine::near_bytes
  StepPrediction prefill, decode; ///< of the whole prompt; of one token, halfway
  int64_t weight_bytes = 0;       ///< packed
  int64_t session_bytes = 0;      ///< that prompt and answer touch beside them, at most

  double prefillSpeed() const; ///< tokens a second
  double decodeSpeed() const;
};

/// Of one variant, whose kernels have their tiles, on one of its target's Target::models.
llvm::Expected<Prediction> predict(const Variant &variant, const Target &model,
                                   const manifest::Manifest &manifest,
                                   const PredictRequest &request);

void printPrediction(const Prediction &prediction, llvm::raw_ostream &out);
llvm::json::Object predictionJson(const Prediction &prediction);

} // namespace ingot
