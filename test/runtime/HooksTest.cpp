// Memory and threads that the app brings, and stopping from another thread.
#include "fake_session.h"

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

namespace {

/// Memory from the app: how much, and what of it has come back.
struct Memory {
  uint64_t asked = 0, released = 0;
  int32_t calls = 0;
  bool refuses = false;

  ingot_allocator hooks() {
    return {[](void *user, uint64_t bytes) -> void * {
              auto &memory = *static_cast<Memory *>(user);
              memory.asked = bytes;
              ++memory.calls;
              if (memory.refuses)
                return nullptr;
              void *block = std::aligned_alloc(4096, bytes);
              return block ? std::memset(block, 0, bytes) : nullptr;
            },
            [](void *user, void *block, uint64_t bytes) {
              static_cast<Memory *>(user)->released += bytes;
              std::free(block);
            },
            this};
  }
};

std::vector<float> logits_of(ingot_session *session) {
  const int32_t tokens[] = {'a', 'q', 'L', 7, 200, 'x', 'y', 1, 2, 3, 'b'};
  EXPECT_EQ(ingot_eval(session, tokens, 11), INGOT_OK);
  const float *row = ingot_logits(session);
  return {row, row + ingot_vocab_size(session)};
}

std::vector<float> expected() {
  ingot_session *session = fake::opened();
  std::vector<float> out = logits_of(session);
  ingot_session_destroy(session);
  return out;
}

TEST(Allocator, GivesASessionAllItsMemory) {
  Memory memory;
  const ingot_allocator hooks = memory.hooks();
  ingot_session_options options = ingot_default_session_options();
  options.allocator = &hooks;
  options.max_text_bytes = 1000;
  options.sequences = 3;
  uint64_t bytes = 0;
  ASSERT_EQ(ingot_session_bytes(&fake::plain, &options, &bytes), INGOT_OK);
  ingot_session *session = fake::opened(fake::plain, options);
  EXPECT_EQ(memory.calls, 1);
  EXPECT_EQ(memory.asked, bytes);
  EXPECT_EQ(logits_of(session), expected());
  EXPECT_EQ(memory.calls, 1);
  EXPECT_EQ(memory.released, 0u);
  ingot_session_destroy(session);
  EXPECT_EQ(memory.released, bytes);

  options.sequences = 4;
  uint64_t more = 0;
  ASSERT_EQ(ingot_session_bytes(&fake::plain, &options, &more), INGOT_OK);
  EXPECT_GT(more, bytes);
}

TEST(Allocator, MayRefuse) {
  Memory memory;
  memory.refuses = true;
  ingot_allocator hooks = memory.hooks();
  ingot_session_options options = ingot_default_session_options();
  options.allocator = &hooks;
  ingot_session *session = nullptr;
  EXPECT_EQ(ingot_session_create(&fake::plain, &options, &session), INGOT_NO_MEMORY);
  EXPECT_EQ(session, nullptr);
  EXPECT_EQ(memory.released, 0u);
  hooks.release = nullptr;
  EXPECT_EQ(ingot_session_create(&fake::plain, &options, &session), INGOT_BAD_ARGUMENT);
  EXPECT_EQ(memory.calls, 1);
  uint64_t bytes;
  EXPECT_EQ(ingot_session_bytes(&fake::plain, &options, &bytes), INGOT_BAD_ARGUMENT);
  EXPECT_EQ(ingot_session_bytes(&fake::plain, nullptr, &bytes), INGOT_BAD_ARGUMENT);
  options.allocator = nullptr;
  EXPECT_EQ(ingot_session_bytes(&fake::plain, &options, nullptr), INGOT_BAD_ARGUMENT);
  EXPECT_EQ(ingot_session_bytes(nullptr, &options, &bytes), INGOT_BAD_PROGRAM);
}

/// Runs shares on new threads: the least that an executor can be.
struct Executor {
  std::atomic<int32_t> runs{0}, shares{0};
  std::atomic<bool> elsewhere{false};

  ingot_executor hooks() {
    return {[](void *user, void (*share)(void *, int32_t), void *argument, int32_t count) {
              auto &executor = *static_cast<Executor *>(user);
              ++executor.runs;
              std::vector<std::thread> threads;
              for (int32_t i = 0; i < count; ++i)
                threads.emplace_back([&executor, share, argument, i] {
                  share(argument, i);
                  ++executor.shares;
                });
              for (std::thread &thread : threads)
                thread.join();
            },
            this};
  }
};

TEST(ExecutorHook, RunsEveryShareOfEveryStep) {
  for (int32_t threads : {1, 2, 5}) {
    Executor executor;
    const ingot_executor hooks = executor.hooks();
    ingot_session_options options = ingot_default_session_options();
    options.executor = &hooks;
    options.threads = threads;
    ingot_session *session = fake::opened(fake::plain, options);
    EXPECT_EQ(ingot_threads(session), threads);
    EXPECT_EQ(ingot_context_length(session), fake::context_length);
    EXPECT_EQ(logits_of(session), expected()); // two prefill steps
    EXPECT_EQ(executor.runs, 2);
    EXPECT_EQ(executor.shares, 2 * threads);
    ingot_session_destroy(session);
    EXPECT_EQ(executor.runs, 2);
  }
  const ingot_executor nothing = {};
  ingot_session_options options = ingot_default_session_options();
  options.executor = &nothing;
  ingot_session *session;
  EXPECT_EQ(ingot_session_create(&fake::plain, &options, &session), INGOT_BAD_ARGUMENT);
}

/// What each thread of a step is given.
constexpr int32_t most_shares = 3;
std::pair<uint8_t *, uint64_t> shares[most_shares];

void notes_shares(const ingot_step_context *context, int32_t thread, int32_t threads) {
  shares[thread] = {context->near_memory + static_cast<uint64_t>(thread) * context->near_bytes,
                    context->near_bytes};
  fake::step(context, thread, threads, false);
}

TEST(NearMemory, IsDividedInWholeVectors) {
  std::vector<ingot_variant> variants(fake::plain.variants,
                                      fake::plain.variants + fake::plain.variant_count);
  for (ingot_variant &variant : variants)
    variant.prefill = notes_shares;
  ingot_program program = fake::plain;
  program.variants = variants.data();
  alignas(128) static uint8_t memory[4096];
  for (auto [offset, bytes, share] : {std::tuple<uint64_t, uint64_t, uint64_t>{0, 4096, 1280},
                                      {1, 4095, 1280},
                                      {127, 128 + 384, 128},
                                      {5, 3 * 128 + 122, 0},
                                      {64, 63, 0},
                                      {0, 0, 0},
                                      {128, 3 * 128, 128}}) {
    SCOPED_TRACE(offset);
    const ingot_near_memory lent{memory + offset, bytes};
    ingot_session_options options = ingot_default_session_options();
    options.near_memory = &lent;
    options.threads = most_shares;
    ingot_session *session = fake::opened(program, options);
    EXPECT_EQ(logits_of(session), expected());
    for (int32_t i = 0; i < most_shares; ++i) {
      auto [begin, count] = shares[i];
      EXPECT_EQ(count, share);
      if (!count)
        continue;
      EXPECT_EQ(reinterpret_cast<uintptr_t>(begin) % 128, 0u);
      EXPECT_GE(begin, memory + offset);
      EXPECT_LE(begin + count, memory + offset + bytes);
      EXPECT_EQ(begin, shares[0].first + static_cast<uint64_t>(i) * share);
    }
    ingot_session_destroy(session);
  }
  const ingot_near_memory nowhere{nullptr, 128};
  ingot_session_options options = ingot_default_session_options();
  options.near_memory = &nowhere;
  ingot_session *session;
  EXPECT_EQ(ingot_session_create(&program, &options, &session), INGOT_BAD_ARGUMENT);
}

TEST(Interrupt, EndsAnAnswerWithinOneToken) {
  ingot_session *session = fake::opened();
  const int32_t endless = 'L';
  ASSERT_EQ(ingot_eval(session, &endless, 1), INGOT_OK);
  struct Answer {
    std::atomic<int32_t> tokens{0};
  } answer;
  // Goes on until it is told: where the context is full, it starts over.
  std::thread other([&] {
    auto count_token = [](void *user, int32_t, const char *, size_t) -> int32_t {
      ++static_cast<Answer *>(user)->tokens;
      return 0;
    };
    ingot_status status;
    do {
      int32_t count;
      status = ingot_generate(session, 1000, count_token, &answer, &count);
      if (status == INGOT_CONTEXT_FULL) {
        ingot_reset(session);
        if (ingot_status again = ingot_eval(session, &endless, 1))
          status = again;
      }
    } while (status == INGOT_CONTEXT_FULL || status == INGOT_OK);
    EXPECT_EQ(status, INGOT_INTERRUPTED);
  });
  while (answer.tokens < 3)
    std::this_thread::yield();
  EXPECT_EQ(ingot_interrupted(session), 0);
  ingot_interrupt(session);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  const int32_t then = answer.tokens;
  other.join();
  EXPECT_LE(answer.tokens, then + 1);
  EXPECT_NE(ingot_interrupted(session), 0);
  EXPECT_EQ(ingot_eval(session, &endless, 1), INGOT_INTERRUPTED);
  ingot_clear_interrupt(session);
  EXPECT_EQ(ingot_eval(session, &endless, 1), INGOT_OK);
  ingot_session_destroy(session);
}

} // namespace
