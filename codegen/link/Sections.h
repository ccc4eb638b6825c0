// The sections of a compiled program that have a name of their own, so that its size can be told
// apart (`ingot inspect`). What the runtime is made of keeps the usual names.
#pragma once

namespace ingot {

constexpr char kKernelsSection[] = ".ingot.kernels";   ///< code of kernels
constexpr char kStepsSection[] = ".ingot.steps";       ///< code of steps and launchers
constexpr char kManifestSection[] = ".ingot.manifest"; ///< runtime/manifest.fbs

} // namespace ingot
