// The plan of a session's memory, and what the platform says that a process keeps.
#include "runtime/core/plan.h"
#include "fake.h"
#include "runtime/core/session.h"
#include "runtime/platform/host.h"
#include "runtime/platform/platform.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <string>
#include <vector>

using namespace ingot::runtime;
namespace platform = ingot::platform;

namespace {

alignas(8) const uint8_t manifest_bytes[] = {
#include "fake_manifest.inc"
};

constexpr uint64_t page = 4096;
constexpr int32_t context = 1 << 16;        // 128 pages of chain
constexpr int32_t tokens_a_page = 4096 / 8; // of the fake's chain

const ProgramSizes sizes = {fake::arena_bytes,
                            fake::cache_bytes(context),
                            fake::prefill_tokens,
                            fake::score_tokens,
                            fake::vocab_size,
                            fake::logits_stride,
                            context,
                            ingot::manifest::GetManifest(manifest_bytes)};

uint64_t planned(Region region, const Use &use) {
  return planned_bytes(sizes, layout_of(sizes, use.sequences, 1 << 20), region, use);
}

TEST(Plan, countsEachSequenceByItsTokens) {
  const Use one{1, 3 * tokens_a_page, 0, 0, 1, false, false};
  EXPECT_EQ(planned(Region::caches, one), 3 * page);
  EXPECT_EQ(planned(Region::history, one), 2 * page); // 1,536 ids of 4 bytes
  const Use many{4, 3 * tokens_a_page, 5 * tokens_a_page, 0, 1, false, false};
  EXPECT_EQ(planned(Region::caches, many), (3 + 3 * 5) * page);
  EXPECT_GE(planned(Region::history, many), (2 + 3 * 3) * page);
  const Use too_many{2, 2 * context, 2 * context, 0, 1, false, false};
  EXPECT_EQ(planned(Region::caches, too_many), 2 * sequence_bytes(sizes));
}

/// On a device all of it is taken at once: caches of every sequence, rows of whichever is larger.
TEST(Plan, countsADevicesMemory) {
  ProgramSizes on_device = sizes;
  const DevicePlan one = device_plan(on_device, 1000, 1), many = device_plan(on_device, 1000, 9);
  EXPECT_EQ(one.size(DeviceRegion::weights), 1000u);
  EXPECT_EQ(one.size(DeviceRegion::arena), fake::arena_bytes);
  EXPECT_EQ(one.size(DeviceRegion::caches), fake::cache_bytes(context));
  EXPECT_EQ(many.size(DeviceRegion::caches), 9 * fake::cache_bytes(context));
  constexpr uint64_t row = fake::logits_stride * 4;
  EXPECT_EQ(one.size(DeviceRegion::logits), (fake::score_tokens + tile_padding) * row);
  EXPECT_EQ(many.size(DeviceRegion::logits), (9 + tile_padding) * row);
  on_device.embedding_stride = 100 * fake::logits_stride;
  EXPECT_EQ(device_plan(on_device, 1000, 1).size(DeviceRegion::logits),
            (fake::prefill_tokens + tile_padding) * 100 * row);
  EXPECT_GT(one.size(DeviceRegion::inputs), device_groups_offset(sizes));
  uint64_t sum = 0;
  for (const PlanRow &region : one.rows)
    sum += region.reserved;
  EXPECT_EQ(one.bytes, sum);
  EXPECT_FALSE(needs_device_memory(*sizes.manifest)); // its kernels are the processor's
}

TEST(Plan, countsOnlyWhatIsUsed) {
  const Use nothing{1, 0, 0, 0, 1, false, false};
  for (Region region :
       {Region::caches, Region::rows, Region::history, Region::sampler, Region::text})
    EXPECT_EQ(planned(region, nothing), 0u);
  const Use all{1, 1, 0, 1, 1, true, true};
  for (Region region :
       {Region::caches, Region::rows, Region::history, Region::sampler, Region::text})
    EXPECT_GT(planned(region, all), 0u);
  EXPECT_EQ(planned(Region::arena, nothing), planned(Region::arena, all));
}

TEST(MemoryUse, tellsOwnMemoryFromThatOfFiles) {
  constexpr uint64_t bytes = 24 << 20;
  // A file, so that its pages are there to be mapped.
  const std::string path = testing::TempDir() + "ingot-memory-use";
  FILE *file = std::fopen(path.c_str(), "wb");
  ASSERT_NE(file, nullptr);
  const std::vector<char> piece(1 << 20, 'x');
  for (uint64_t at = 0; at < bytes; at += piece.size())
    ASSERT_EQ(std::fwrite(piece.data(), 1, piece.size(), file), piece.size());
  ASSERT_EQ(std::fclose(file), 0);
  const char *mapped;
  uint64_t length;
  ASSERT_EQ(platform::map_file(path.c_str(), &mapped, &length), 0);
  platform::remove_file(path.c_str());

  const platform::MemoryUse before = platform::memory_use();
  platform::populate(mapped, length);
  const platform::MemoryUse read = platform::memory_use();
  EXPECT_LT(read.anonymous, before.anonymous + bytes / 4);
  EXPECT_GT(read.peak_resident, bytes);

  auto *memory = static_cast<volatile char *>(platform::map_memory(bytes));
  ASSERT_NE(memory, nullptr);
  for (uint64_t at = 0; at < bytes; at += page)
    memory[at] = 1;
  const platform::MemoryUse written = platform::memory_use();
  EXPECT_GE(written.anonymous, read.anonymous + bytes);
  EXPECT_GT(written.peak_resident, 2 * bytes);
  platform::unmap_memory(const_cast<char *>(memory), bytes);
  EXPECT_LT(platform::memory_use().anonymous, read.anonymous + bytes / 4);
  EXPECT_GT(platform::memory_use().peak_resident, 2 * bytes);
}

} // namespace
