#include "runtime/core/variants.h"

#include <string.h>

namespace ingot::runtime {

const char *missing_feature(const manifest::Variant &variant, HasFeature has) {
  if (variant.features())
    for (const flatbuffers::String *feature : *variant.features())
      if (!has(feature->c_str()))
        return feature->c_str();
  return nullptr;
}

int32_t best_variant(const manifest::Build &build, HasFeature has) {
  const auto count = static_cast<int32_t>(build.variants()->size());
  for (int32_t i = 0; i < count; ++i)
    if (!missing_feature(*build.variants()->Get(static_cast<uint32_t>(i)), has))
      return i;
  return -1;
}

int32_t named_variant(const manifest::Build &build, const char *name, HasFeature has) {
  const auto count = static_cast<int32_t>(build.variants()->size());
  auto at = [&](int32_t i) -> const manifest::Variant & {
    return *build.variants()->Get(static_cast<uint32_t>(i));
  };
  for (int32_t i = 0; i < count; ++i)
    if (!strcmp(at(i).name()->c_str(), name))
      return i;
  for (bool must_run : {true, false})
    for (int32_t i = 0; i < count; ++i)
      if (!strcmp(at(i).isa()->c_str(), name) && !(must_run && missing_feature(at(i), has)))
        return i;
  return -1;
}

} // namespace ingot::runtime
