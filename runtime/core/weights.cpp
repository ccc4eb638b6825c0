// Opening a file of weights (weights.h): wrong ones are refused by their first bytes.
#include "runtime/core/weights.h"

#include "runtime/core/session.h"
#include "runtime/platform/host.h"

using namespace ingot::runtime;
namespace platform = ingot::platform;

namespace {

constexpr uint64_t longest_path = 4096, piece = 2u << 20;

/// FOLDER_OF_THE_PROGRAM/NAME. False where there is no room or no such folder.
bool beside_program(const char *name, char (&path)[longest_path]) {
  const size_t folder = platform::program_folder(path, sizeof path), length = strlen(name);
  if (!folder || folder + length + 1 > sizeof path)
    return false;
  memcpy(path + folder, name, length + 1);
  return true;
}

ingot_status check_header(const WeightsHeader &header, const WeightsHash &wanted,
                          uint64_t wanted_bytes) {
  if (memcmp(header.magic, weights_magic, sizeof header.magic) != 0 ||
      header.version != weights_version)
    return INGOT_WRONG_WEIGHTS;
  if (!(header.check == header.checked()))
    return INGOT_DAMAGED_WEIGHTS;
  return header.hash == wanted && header.bytes == wanted_bytes ? INGOT_OK : INGOT_WRONG_WEIGHTS;
}

/// Everything is read once; the first steps then find it in memory.
bool undamaged(const uint8_t *data, const WeightsHeader &header) {
  WeightsHasher hasher;
  for (uint64_t at = 0; at < header.bytes; at += piece) {
    const uint64_t count = header.bytes - at < piece ? header.bytes - at : piece;
    platform::populate(data + at, count);
    hasher.add(data + at, count);
  }
  return hasher.finish() == header.hash;
}

} // namespace

ingot_status ingot_weights_open(const ingot_program *program, const char *path, int32_t verify,
                                ingot_weights **result) {
  if (!result)
    return INGOT_BAD_ARGUMENT;
  *result = nullptr;
  const ingot::manifest::Manifest *manifest = program_manifest(program);
  if (!manifest)
    return INGOT_BAD_PROGRAM;
  const flatbuffers::String *name = manifest->build()->weights_file();
  const flatbuffers::String *digits = manifest->build()->weights_hash();
  WeightsHash wanted;
  if (!name || !digits)
    return INGOT_BAD_ARGUMENT; // its weights are in it
  if (!parse_weights_hash(digits->c_str(), &wanted))
    return INGOT_BAD_PROGRAM;
  char beside[longest_path];
  if (!path) {
    if (!beside_program(name->c_str(), beside))
      return INGOT_WEIGHTS_UNREADABLE;
    path = beside;
  }

  // Only what is asked for is read: a wrong file may lie on a slow disk.
  WeightsHeader header;
  platform::OpenFile file;
  if (platform::open_file(path, &file))
    return INGOT_WEIGHTS_UNREADABLE;
  ingot_status status = INGOT_OK;
  if (file.bytes < sizeof header)
    status = INGOT_WRONG_WEIGHTS;
  else if (platform::read_at(file, 0, &header, sizeof header))
    status = INGOT_WEIGHTS_UNREADABLE;
  if (!status)
    status = check_header(header, wanted, program->weights_bytes);
  if (!status && (header.offset > file.bytes || header.bytes > file.bytes - header.offset))
    status = INGOT_DAMAGED_WEIGHTS; // cut off
  const void *mapped = nullptr;
  if (!status && !(mapped = platform::map_open_file(file)))
    status = INGOT_WEIGHTS_UNREADABLE;
  platform::close_open_file(file);
  if (status)
    return status;
  const auto *data = static_cast<const uint8_t *>(mapped) + header.offset;
  auto *weights = static_cast<ingot_weights *>(platform::map_memory(sizeof(ingot_weights)));
  if (weights && verify && !undamaged(data, header))
    status = INGOT_DAMAGED_WEIGHTS;
  if (!weights || status) {
    platform::unmap_file(mapped, file.bytes);
    platform::unmap_memory(weights, sizeof(ingot_weights));
    return weights ? status : INGOT_NO_MEMORY;
  }
  *weights = {data, mapped, file.bytes, wanted};
  *result = weights;
  return INGOT_OK;
}

void ingot_weights_close(ingot_weights *weights) {
  if (!weights)
    return;
  platform::unmap_file(weights->file, weights->file_bytes);
  platform::unmap_memory(weights, sizeof(ingot_weights));
}
