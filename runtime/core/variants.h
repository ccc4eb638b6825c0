// Which of a program's variants (runtime/manifest.fbs) the processor runs.
#pragma once

#include "runtime/manifest_generated.h"

#include <stdint.h>

namespace ingot::runtime {

/// True when the processor certainly has a feature: platform::has_feature, or a test's.
using HasFeature = bool (*)(const char *name);

/// The first feature that the processor lacks of those that the variant needs; null: it runs.
const char *missing_feature(const manifest::Variant &variant, HasFeature has);

/// The first variant that runs, -1 when none does.
int32_t best_variant(const manifest::Build &build, HasFeature has);

/// The variant called `name`; else the first of that instruction set that runs, or else the first
/// of it; -1: there is none.
int32_t named_variant(const manifest::Build &build, const char *name, HasFeature has);

} // namespace ingot::runtime
