// Saving a sequence and taking it up again: what has been evaluated of it, with its last logits and
// its place among the random numbers.
//
//   Header, history [position], logits [vocab_size] where there are any, then the filled part of
//   each head of each cache (copied as in ingot_fork), all of it covered by the header's hash
//
// The program is meant by the hash of its manifest, which has the model's hash, the layout of
// caches and the machines that its kernels are for. Caches have one layout for all of these, so
// that what one of them has evaluated another goes on with.
#include "runtime/core/session.h"

#include <string.h>

using namespace ingot::runtime;

namespace {

constexpr char magic[9] = "INGOTSES";
constexpr uint32_t format = 1;

struct Header {
  char magic[8];
  uint32_t format;
  int32_t position;
  uint64_t bytes; ///< of everything
  WeightsHash program;
  Random random;
  uint64_t has_logits;
  WeightsHash check; ///< of everything but this
};

WeightsHash hash_of_program(const ingot_session &session) {
  WeightsHasher hasher;
  hasher.add(session.program->manifest, session.program->manifest_bytes);
  return hasher.finish();
}

WeightsHash hash_of_saved(const uint8_t *saved, uint64_t bytes) {
  WeightsHasher hasher;
  hasher.add(saved, offsetof(Header, check));
  hasher.add(saved + sizeof(Header), bytes - sizeof(Header));
  return hasher.finish();
}

uint64_t filled_bytes(const ingot_session &session, int32_t position) {
  uint64_t bytes = 0;
  for_filled(*session.manifest, position, [&](uint64_t, uint64_t filled) { bytes += filled; });
  return bytes;
}

uint64_t saved_bytes(const ingot_session &session, int32_t position, bool logits) {
  uint64_t bytes = sizeof(Header) + static_cast<uint64_t>(position) * sizeof(int32_t);
  if (logits)
    bytes += static_cast<uint64_t>(session.program->vocab_size) * sizeof(float);
  return bytes + filled_bytes(session, position);
}

} // namespace

ingot_status ingot_save(const ingot_session *session, void *out, size_t capacity, size_t *bytes) {
  if (!session || (!out && capacity) || !bytes)
    return INGOT_BAD_ARGUMENT;
  *bytes = 0;
  const Sequence &sequence = *session->selected;
  const uint64_t total = saved_bytes(*session, sequence.position, sequence.current != nullptr);
  *bytes = total;
  if (capacity < total)
    return INGOT_BUFFER_TOO_SMALL;
  auto *at = static_cast<uint8_t *>(out);
  auto put = [&](const void *data, uint64_t count) {
    memcpy(at, data, count);
    at += count;
  };
  Header header{{},
                format,
                sequence.position,
                total,
                hash_of_program(*session),
                sequence.random,
                sequence.current != nullptr,
                {}};
  memcpy(header.magic, magic, sizeof header.magic);
  put(&header, sizeof header);
  put(sequence.history, static_cast<uint64_t>(sequence.position) * sizeof(int32_t));
  if (sequence.current)
    put(sequence.current, static_cast<uint64_t>(session->program->vocab_size) * sizeof(float));
  if (session->device) {
    if (ingot_status status = session->variant->device->read(
            session->device, ingot_selected(session), sequence.position, at))
      return status;
  } else {
    for_filled(*session->manifest, sequence.position,
               [&](uint64_t begin, uint64_t filled) { put(sequence.caches + begin, filled); });
  }
  header.check = hash_of_saved(static_cast<const uint8_t *>(out), total);
  memcpy(out, &header, sizeof header);
  return INGOT_OK;
}

ingot_status ingot_restore(ingot_session *session, const void *saved, size_t bytes) {
  if (!session || !saved)
    return INGOT_BAD_ARGUMENT;
  const auto *at = static_cast<const uint8_t *>(saved);
  Header header;
  if (bytes < sizeof header)
    return INGOT_DAMAGED_SAVE;
  memcpy(&header, at, sizeof header);
  if (memcmp(header.magic, magic, sizeof header.magic) != 0 || header.format != format)
    return INGOT_FOREIGN_SAVE;
  if (header.bytes != bytes || !(header.check == hash_of_saved(at, bytes)))
    return INGOT_DAMAGED_SAVE;
  if (!(header.program == hash_of_program(*session)))
    return INGOT_FOREIGN_SAVE;
  // What one of our own says cannot be wrong; what says so may still be somebody else's.
  if (header.position < 0 || header.position > session->program->context_length ||
      bytes != saved_bytes(*session, header.position, header.has_logits != 0))
    return INGOT_DAMAGED_SAVE;
  const uint8_t *history = at + sizeof header;
  for (int32_t i = 0; i < header.position; ++i) {
    int32_t token;
    memcpy(&token, history + static_cast<uint64_t>(i) * sizeof token, sizeof token);
    if (token < 0 || token >= session->program->vocab_size)
      return INGOT_DAMAGED_SAVE;
  }

  Sequence &sequence = *session->selected;
  if (session->device) {
    const uint8_t *caches = at + bytes - filled_bytes(*session, header.position);
    if (ingot_status status = session->variant->device->write(
            session->device, ingot_selected(session), header.position, caches))
      return status;
  }
  at = history;
  auto take = [&](void *to, uint64_t count) {
    memcpy(to, at, count);
    at += count;
  };
  take(sequence.history, static_cast<uint64_t>(header.position) * sizeof(int32_t));
  sequence.current = nullptr;
  if (header.has_logits) {
    take(sequence.last_logits, static_cast<uint64_t>(session->program->vocab_size) * sizeof(float));
    sequence.current = sequence.last_logits;
  }
  if (!session->device)
    for_filled(*session->manifest, header.position,
               [&](uint64_t begin, uint64_t filled) { take(sequence.caches + begin, filled); });
  sequence.position = header.position;
  sequence.random = header.random;
  return INGOT_OK;
}
