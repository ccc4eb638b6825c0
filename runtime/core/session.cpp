// Sessions (session.h): creation, text, sequences, sampling.
#include "runtime/core/session.h"

#include "runtime/core/variants.h"

#include <new>
#include <string.h>

using namespace ingot::runtime;
namespace platform = ingot::platform;

namespace ingot::runtime {
namespace {

constexpr uint64_t prefault_piece = 2u << 20;

void prefault_work(void *argument) { static_cast<Prefault *>(argument)->work(); }

void close_device(ingot_session *session) {
  if (session->device)
    session->variant->device->close(session->device);
  session->device = nullptr;
}

/// Takes `*variant`, or the next one that runs here where it is for a device that is missing and
/// nobody asked for it by name.
ingot_status choose_variant(ingot_session *session, const ingot_session_options &options,
                            int32_t *variant, char *problem) {
  const manifest::Build &build = *session->manifest->build();
  const ingot_program &program = *session->program;
  const ProgramSizes sizes = sizes_of(program, session->manifest);
  for (;; ++*variant) {
    const auto index = static_cast<uint32_t>(*variant);
    session->variant = program.variants + *variant;
    session->isa = build.variants()->Get(index)->name()->c_str();
    const ingot_device *device = session->variant->device;
    if (!device)
      return INGOT_OK;
    const ingot_device_request request{&program,
                                       session->weights,
                                       session->variant,
                                       session->sequence_count,
                                       session->sequences->caches,
                                       sequence_bytes(sizes)};
    const ingot_status status = device->open(&request, &session->device, problem);
    if (status == INGOT_OK) {
      *problem = 0;
      return INGOT_OK;
    }
    session->device = nullptr; // whatever it left there
    int32_t next = *variant + 1;
    while (
        next < program.variant_count &&
        missing_feature(*build.variants()->Get(static_cast<uint32_t>(next)), platform::has_feature))
      ++next;
    if (options.isa || next == program.variant_count)
      return status;
    *variant = next - 1;
  }
}

bool valid(const ingot_session_options *options) {
  return options && options->threads >= 0 && options->threads <= INGOT_MAX_THREADS &&
         options->max_text_bytes <= INT32_MAX / 2 && options->sequences >= 1 &&
         options->sequences <= INGOT_MAX_SEQUENCES &&
         (!options->allocator || (options->allocator->allocate && options->allocator->release)) &&
         (!options->executor || options->executor->run) &&
         (!options->near_memory || options->near_memory->memory || !options->near_memory->bytes);
}

/// `problem` becomes `what` and `name`, as much as fits.
void say(char *problem, const char *what, const char *name) {
  size_t used = 0;
  for (const char *text : {what, name})
    for (; *text && used < INGOT_PROBLEM_BYTES - 1; ++text)
      problem[used++] = *text;
  problem[used] = 0;
}

/// Threads get equal parts of whole vectors.
void share_near_memory(ingot_session *session, const ingot_near_memory &lent) {
  constexpr uint64_t unit = INGOT_NEAR_ALIGNMENT;
  const uint64_t before = -reinterpret_cast<uintptr_t>(lent.memory) % unit;
  if (lent.bytes <= before)
    return;
  const auto threads = static_cast<uint64_t>(session->pool.threads);
  session->near_bytes = (lent.bytes - before) / threads / unit * unit;
  if (session->near_bytes)
    session->near_memory = static_cast<uint8_t *>(lent.memory) + before;
}

void *take_memory(const ingot_allocator &allocator, uint64_t bytes) {
  return allocator.allocate ? allocator.allocate(allocator.user, bytes)
                            : platform::map_memory(bytes);
}
void give_back(const ingot_allocator &allocator, void *memory, uint64_t bytes) {
  if (allocator.release)
    allocator.release(allocator.user, memory, bytes);
  else
    platform::unmap_memory(memory, bytes);
}

} // namespace

const manifest::Manifest *program_manifest(const ingot_program *program) {
  constexpr int32_t limit = 1 << 28; // keeps every size below 2^64
  if (!program || program->abi != INGOT_PROGRAM_ABI || !program->manifest ||
      program->manifest_bytes < 16 || program->variant_count < 1 || !program->variants ||
      program->prefill_tokens < 1 || program->score_tokens < 1 || program->vocab_size < 1 ||
      program->logits_stride < program->vocab_size || program->context_length < 1 ||
      program->prefill_tokens > limit || program->score_tokens > (1 << 20) ||
      program->logits_stride > limit || program->context_length > limit ||
      program->arena_bytes > uint64_t{1} << 46 || program->cache_bytes > uint64_t{1} << 46 ||
      program->batch_steps < 0 || program->batch_steps > INGOT_MAX_BATCH_STEPS)
    return nullptr;
  for (int32_t i = 0; i < program->batch_steps; ++i)
    if (program->batch_tokens[i] > max_batch_tokens ||
        program->batch_tokens[i] <= (i ? program->batch_tokens[i - 1] : 1))
      return nullptr;
  for (int32_t i = 0; i < program->variant_count; ++i) {
    const ingot_variant &variant = program->variants[i];
    if (variant.device && !variant.device_code)
      return nullptr;
    if (!variant.device && (!variant.decode || !variant.prefill || !variant.score))
      return nullptr;
    for (int32_t j = 0; j < program->batch_steps && !variant.device; ++j)
      if (!variant.batch[j])
        return nullptr;
  }
  if (memcmp(program->manifest + 4, manifest::ManifestIdentifier(), 4) != 0)
    return nullptr;
  const manifest::Manifest *root = manifest::GetManifest(program->manifest);
  const manifest::Tokenizer *tokenizer = root->tokenizer();
  if (!root->model() || !root->build() || !root->build()->variants() ||
      root->build()->variants()->size() != static_cast<uint32_t>(program->variant_count) ||
      (root->memory() &&
       (root->memory()->embedding_stride() < 0 || root->memory()->embedding_stride() > limit)) ||
      !tokenizer || !tokenizer->token_offsets() || !tokenizer->token_bytes() ||
      tokenizer->token_offsets()->size() != static_cast<uint32_t>(program->vocab_size) + 1)
    return nullptr;
  return root;
}

void Prefault::work() {
  for (;;) {
    // Without the first test, calls after the end would count on for ever.
    if (next.load(std::memory_order_relaxed) >= bytes)
      return;
    const uint64_t begin = next.fetch_add(prefault_piece, std::memory_order_relaxed);
    if (begin >= bytes)
      return;
    platform::populate(weights + begin,
                       bytes - begin < prefault_piece ? bytes - begin : prefault_piece);
  }
}

} // namespace ingot::runtime

extern "C" {

ingot_session_options ingot_default_session_options(void) {
  return {0, 1, 1u << 20, 1, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr};
}

const char *ingot_missing_feature(const ingot_program *program) {
  const ingot::manifest::Manifest *manifest = program_manifest(program);
  if (!manifest || best_variant(*manifest->build(), platform::has_feature) >= 0)
    return nullptr;
  const auto &variants = *manifest->build()->variants();
  return missing_feature(*variants.Get(variants.size() - 1), platform::has_feature);
}

ingot_status ingot_session_bytes(const ingot_program *program, const ingot_session_options *options,
                                 uint64_t *bytes) {
  if (!bytes || !valid(options))
    return INGOT_BAD_ARGUMENT;
  const ingot::manifest::Manifest *manifest = program_manifest(program);
  if (!manifest)
    return INGOT_BAD_PROGRAM;
  *bytes =
      layout_of(sizes_of(*program, manifest), options->sequences, options->max_text_bytes).bytes;
  return INGOT_OK;
}

ingot_status ingot_session_create(const ingot_program *program,
                                  const ingot_session_options *options, ingot_session **result) {
  if (!result)
    return INGOT_BAD_ARGUMENT;
  *result = nullptr;
  char unread[INGOT_PROBLEM_BYTES];
  char *problem = options && options->problem ? options->problem : unread;
  *problem = 0;
  if (!valid(options))
    return INGOT_BAD_ARGUMENT;
  const ingot::manifest::Manifest *manifest = program_manifest(program);
  if (!manifest)
    return INGOT_BAD_PROGRAM;
  const ingot::manifest::Build &build = *manifest->build();
  int32_t variant = options->isa ? named_variant(build, options->isa, platform::has_feature)
                                 : best_variant(build, platform::has_feature);
  if (variant < 0 && options->isa) {
    say(problem, "the program has no kernels for ", options->isa);
    return INGOT_BAD_ARGUMENT;
  }
  const char *missing =
      variant < 0 ? ingot_missing_feature(program)
                  : missing_feature(*build.variants()->Get(static_cast<uint32_t>(variant)),
                                    platform::has_feature);
  if (missing) {
    say(problem, "this processor has no ", missing);
    return INGOT_UNSUPPORTED_CPU;
  }

  const uint8_t *weights = program->weights;
  if (build.weights_file()) {
    WeightsHash hash;
    if (!options->weights) {
      say(problem, "the model's weights are in a file: ", build.weights_file()->c_str());
      return INGOT_NO_WEIGHTS;
    }
    if (!build.weights_hash() || !parse_weights_hash(build.weights_hash()->c_str(), &hash) ||
        !(hash == options->weights->hash))
      return INGOT_WRONG_WEIGHTS;
    weights = options->weights->data;
  }

  const ProgramSizes sizes = sizes_of(*program, manifest);
  const Layout layout = layout_of(sizes, options->sequences, options->max_text_bytes);
  const ingot_allocator allocator = options->allocator ? *options->allocator : ingot_allocator{};
  auto *memory = static_cast<uint8_t *>(take_memory(allocator, layout.bytes));
  if (!memory)
    return INGOT_NO_MEMORY;
  // Steps go over all of the arena again and again; of the other regions, most is touched late or
  // never, and a huge page would take it all at once.
  if (!allocator.allocate)
    platform::prefer_huge_pages(memory + layout.begin(Region::arena), layout.size(Region::arena));
  auto *session = new (memory + layout.begin(Region::session)) ingot_session{};
  session->program = program;
  session->weights = weights;
  session->manifest = manifest;
  session->tokenizer.tables = manifest->tokenizer();
  session->layout = layout;
  session->allocator = allocator;
  session->memory = memory;
  session->arena = memory + layout.begin(Region::arena);
  session->rows = reinterpret_cast<float *>(memory + layout.begin(Region::rows));
  session->step_tokens = reinterpret_cast<int32_t *>(memory + layout.begin(Region::step_tokens));
  session->step_capacity = longest_step(sizes) + tile_padding;
  session->sequences = reinterpret_cast<Sequence *>(session + 1);
  session->sequence_count = options->sequences;
  session->selected = session->sequences;
  auto *caches = memory + layout.begin(Region::caches);
  auto *history = reinterpret_cast<int32_t *>(memory + layout.begin(Region::history));
  auto *last_logits = reinterpret_cast<float *>(memory + layout.begin(Region::last_logits));
  for (int32_t i = 0; i < options->sequences; ++i) {
    auto *sequence = new (session->sequences + i) Sequence{};
    sequence->caches = caches + static_cast<uint64_t>(i) * sequence_bytes(sizes);
    sequence->history = history + static_cast<int64_t>(i) * program->context_length;
    sequence->last_logits = last_logits + static_cast<int64_t>(i) * program->logits_stride;
  }
  if (const ingot_status opened = choose_variant(session, *options, &variant, problem)) {
    give_back(allocator, memory, layout.bytes);
    return opened;
  }
  session->text_scratch = memory + layout.begin(Region::text);
  session->text_scratch_bytes = layout.size(Region::text);
  session->max_text_bytes = options->max_text_bytes;
  session->sampler.attach(memory + layout.begin(Region::sampler), program->vocab_size);
  const ingot_sampling sampling = ingot_default_sampling();
  ingot_set_sampling(session, &sampling);
  if (options->prefault && session->weights && !session->device) {
    // They lie in the file as in memory, up to a multiple of a huge page, and all are read.
    platform::prefer_huge_pages(session->weights, program->weights_bytes);
    session->prefault.weights = session->weights;
    session->prefault.bytes = program->weights_bytes;
  }

  int32_t threads = session->device    ? 1
                    : options->threads ? options->threads
                                       : platform::core_count();
  if (threads > INGOT_MAX_THREADS)
    threads = INGOT_MAX_THREADS;
  if (options->executor)
    session->pool.executor = *options->executor;
  if (!session->pool.start(threads, prefault_work, &session->prefault)) {
    const bool no_memory = session->pool.no_memory;
    close_device(session);
    give_back(allocator, memory, layout.bytes);
    return no_memory ? INGOT_NO_MEMORY : INGOT_NO_THREADS;
  }
  if (options->near_memory)
    share_near_memory(session, *options->near_memory);
  *result = session;
  return INGOT_OK;
}

void ingot_session_destroy(ingot_session *session) {
  if (!session)
    return;
  session->prefault.next.store(session->prefault.bytes, std::memory_order_relaxed);
  session->pool.stop();
  close_device(session);
  give_back(ingot_allocator(session->allocator), session->memory, session->layout.bytes);
}

ingot_status ingot_tokenize(ingot_session *session, const char *text, size_t bytes,
                            int32_t parse_special, int32_t *tokens, int32_t capacity,
                            int32_t *count) {
  if (!session || (!text && bytes) || (!tokens && capacity) || capacity < 0 || !count)
    return INGOT_BAD_ARGUMENT;
  *count = -1;
  if (bytes > session->max_text_bytes)
    return INGOT_TEXT_TOO_LONG;
  *count =
      ingot_tokenizer_encode(&session->tokenizer, text, bytes, parse_special != 0,
                             session->text_scratch, session->text_scratch_bytes, tokens, capacity);
  return *count > capacity ? INGOT_BUFFER_TOO_SMALL : INGOT_OK;
}

int32_t ingot_token_bytes(const ingot_session *session, int32_t token, const char **bytes) {
  if (!session || !bytes || token < 0 || token >= session->program->vocab_size)
    return -1;
  return static_cast<int32_t>(ingot_tokenizer_piece(&session->tokenizer, token, bytes));
}

ingot_status ingot_detokenize(const ingot_session *session, const int32_t *tokens, int32_t count,
                              char *out, size_t capacity, size_t *bytes) {
  if (!session || (!tokens && count) || count < 0 || (!out && capacity) || !bytes)
    return INGOT_BAD_ARGUMENT;
  size_t used = 0;
  for (int32_t i = 0; i < count; ++i) {
    const char *piece;
    const int32_t length = ingot_token_bytes(session, tokens[i], &piece);
    if (length < 0)
      return INGOT_BAD_TOKEN;
    const auto size = static_cast<size_t>(length);
    if (used <= capacity && size <= capacity - used && size)
      memcpy(out + used, piece, size);
    used += size;
  }
  *bytes = used;
  return used > capacity ? INGOT_BUFFER_TOO_SMALL : INGOT_OK;
}

int32_t ingot_is_stop_token(const ingot_session *session, int32_t token) {
  const ingot::manifest::Tokenizer *tables = session->manifest->tokenizer();
  if (tables->stop())
    for (int32_t stop : *tables->stop())
      if (stop == token)
        return 1;
  return token >= 0 && token == tables->eos();
}

ingot_status ingot_select(ingot_session *session, int32_t sequence) {
  if (!session || sequence < 0 || sequence >= session->sequence_count)
    return INGOT_BAD_ARGUMENT;
  session->selected = session->sequences + sequence;
  return INGOT_OK;
}

ingot_status ingot_fork(ingot_session *session, int32_t from, int32_t to) {
  if (!session || from < 0 || from >= session->sequence_count || to < 0 ||
      to >= session->sequence_count)
    return INGOT_BAD_ARGUMENT;
  if (from == to)
    return INGOT_OK;
  const Sequence &source = session->sequences[from];
  Sequence &target = session->sequences[to];
  if (session->device) {
    if (ingot_status status =
            session->variant->device->copy(session->device, from, to, source.position))
      return status;
  } else {
    for_filled(*session->manifest, source.position, [&](uint64_t begin, uint64_t filled) {
      memcpy(target.caches + begin, source.caches + begin, filled);
    });
  }
  memcpy(target.history, source.history, static_cast<size_t>(source.position) * sizeof(int32_t));
  target.position = source.position;
  target.current = nullptr;
  if (source.current) {
    memcpy(target.last_logits, source.current,
           static_cast<size_t>(session->program->vocab_size) * sizeof(float));
    target.current = target.last_logits;
  }
  return INGOT_OK;
}

int32_t ingot_sequences(const ingot_session *session) { return session->sequence_count; }
int32_t ingot_selected(const ingot_session *session) {
  return static_cast<int32_t>(session->selected - session->sequences);
}

const float *ingot_logits(const ingot_session *session) { return session->selected->current; }
int32_t ingot_position(const ingot_session *session) { return session->selected->position; }
const int32_t *ingot_history(const ingot_session *session) { return session->selected->history; }
int32_t ingot_context_length(const ingot_session *session) {
  return session->program->context_length;
}
int32_t ingot_vocab_size(const ingot_session *session) { return session->program->vocab_size; }
int32_t ingot_threads(const ingot_session *session) { return session->pool.threads; }
const char *ingot_isa(const ingot_session *session) { return session->isa; }

ingot_status ingot_truncate(ingot_session *session, int32_t position) {
  if (!session || position < 0 || position > session->selected->position)
    return INGOT_BAD_ARGUMENT;
  session->selected->position = position;
  session->selected->current = nullptr;
  return INGOT_OK;
}

void ingot_reset(ingot_session *session) { ingot_truncate(session, 0); }

void ingot_interrupt(ingot_session *session) {
  session->interrupt.store(1, std::memory_order_relaxed);
}
void ingot_clear_interrupt(ingot_session *session) {
  session->interrupt.store(0, std::memory_order_relaxed);
}
int32_t ingot_interrupted(const ingot_session *session) {
  return session->interrupt.load(std::memory_order_relaxed) != 0;
}

ingot_sampling ingot_default_sampling(void) { return {0.8f, 40, 0.95f, 0.0f, 1.0f, 64, 0}; }

ingot_status ingot_set_sampling(ingot_session *session, const ingot_sampling *sampling) {
  if (!session || !sampling)
    return INGOT_BAD_ARGUMENT;
  if (ingot_status status = session->sampler.set(*sampling))
    return status;
  // Numbers of its own for each sequence: what it samples does not depend on the others.
  for (int32_t i = 0; i < session->sequence_count; ++i)
    session->sequences[i].random.seed(
        sampling->seed + static_cast<uint64_t>(i) * 0x9e3779b97f4a7c15u, sampler_stream);
  return INGOT_OK;
}

ingot_status ingot_sample(ingot_session *session, int32_t *token) {
  if (!session || !token)
    return INGOT_BAD_ARGUMENT;
  Sequence &sequence = *session->selected;
  if (!sequence.current)
    return INGOT_NO_LOGITS;
  session->sampler.random = sequence.random;
  const ingot_status status = session->sampler.sample(
      sequence.current, session->program->vocab_size, sequence.history, sequence.position, token);
  sequence.random = session->sampler.random;
  return status;
}

} // extern "C"
