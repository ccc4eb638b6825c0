// Ingot's runtime for C++20: ingot.h with owners, spans and exceptions. Header only; what a
// function does, and which threads may call it, is said in ingot.h.
#pragma once

#include "ingot.h"

#include <cstddef>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace ingot {

/// A status that is not INGOT_OK.
class Error : public std::runtime_error {
public:
  explicit Error(ingot_status status, const std::string &detail = {})
      : std::runtime_error(ingot_status_string(status) + (detail.empty() ? detail : ": " + detail)),
        code(status) {}
  ingot_status status() const noexcept { return code; }

private:
  ingot_status code;
};

inline void check(ingot_status status) {
  if (status != INGOT_OK)
    throw Error(status);
}

inline ingot_model_info model_info(const ingot_program &program) {
  ingot_model_info info;
  check(ingot_model_info_of(&program, &info));
  return info;
}

/// The open file of weights of a program that was compiled with --split.
class Weights {
public:
  explicit Weights(const ingot_program &program, const char *path = nullptr, bool verify = true) {
    ingot_weights *opened;
    check(ingot_weights_open(&program, path, verify, &opened));
    weights.reset(opened);
  }
  const ingot_weights *get() const noexcept { return weights.get(); }

private:
  struct Close {
    void operator()(ingot_weights *open) const noexcept { ingot_weights_close(open); }
  };
  std::unique_ptr<ingot_weights, Close> weights;
};

/// One message of a conversation.
struct Message {
  ingot_role role;
  std::string text;
};

class Session {
public:
  explicit Session(const ingot_program &program,
                   ingot_session_options options = ingot_default_session_options()) {
    char problem[INGOT_PROBLEM_BYTES] = "";
    if (!options.problem)
      options.problem = problem;
    ingot_session *made;
    if (const ingot_status status = ingot_session_create(&program, &options, &made))
      throw Error(status, options.problem);
    session.reset(made);
  }
  /// For the functions of ingot.h that are not here.
  ingot_session *get() const noexcept { return session.get(); }

  /// The text's tokens alone: where model_info().add_bos, bos_token goes before a prompt.
  std::vector<int32_t> tokenize(std::string_view text, bool parse_special = false) {
    std::vector<int32_t> tokens(text.size() / 3 + 8); // grows where a text has more
    for (;;) {
      int32_t count;
      const ingot_status status =
          ingot_tokenize(get(), text.data(), text.size(), parse_special, tokens.data(),
                         static_cast<int32_t>(tokens.size()), &count);
      if (status != INGOT_BUFFER_TOO_SMALL) {
        check(status);
        tokens.resize(static_cast<size_t>(count));
        return tokens;
      }
      tokens.resize(count > 0 ? static_cast<size_t>(count) : 2 * tokens.size());
    }
  }
  std::string detokenize(std::span<const int32_t> tokens) const {
    const auto count = static_cast<int32_t>(tokens.size());
    size_t bytes;
    if (const ingot_status status =
            ingot_detokenize(get(), tokens.data(), count, nullptr, 0, &bytes);
        status != INGOT_BUFFER_TOO_SMALL)
      check(status);
    std::string text(bytes, '\0');
    check(ingot_detokenize(get(), tokens.data(), count, text.data(), text.size(), &bytes));
    return text;
  }

  void eval(std::span<const int32_t> tokens) {
    check(ingot_eval(get(), tokens.data(), static_cast<int32_t>(tokens.size())));
  }
  /// Evaluates what of a conversation has not been: generate() then answers.
  void chat(std::span<const Message> messages) {
    std::vector<ingot_message> views;
    for (const Message &message : messages)
      views.push_back({message.role, message.text.data(), message.text.size()});
    check(ingot_chat_eval(get(), views.data(), static_cast<int32_t>(views.size())));
  }
  /// One embedding; with INGOT_POOLING_NONE one for each token, one behind the other.
  std::vector<float> embed(std::span<const int32_t> tokens, int32_t embedding_length,
                           ingot_pooling pooling = INGOT_POOLING_LAST) {
    const size_t rows = pooling == INGOT_POOLING_NONE ? tokens.size() : 1;
    std::vector<float> out(rows * static_cast<size_t>(embedding_length));
    check(ingot_embed(get(), tokens.data(), static_cast<int32_t>(tokens.size()), pooling,
                      out.data(), out.size()));
    return out;
  }
  /// Of the last token; empty where there are none. As long valid as ingot_logits says.
  std::span<const float> logits() const noexcept {
    const float *row = ingot_logits(get());
    return {row, row ? static_cast<size_t>(ingot_vocab_size(get())) : 0};
  }
  std::span<const int32_t> history() const noexcept {
    return {ingot_history(get()), static_cast<size_t>(ingot_position(get()))};
  }
  void truncate(int32_t position) { check(ingot_truncate(get(), position)); }

  void set_sampling(const ingot_sampling &sampling) { check(ingot_set_sampling(get(), &sampling)); }
  int32_t sample() {
    int32_t token;
    check(ingot_sample(get(), &token));
    return token;
  }
  /// Passes tokens on as `each(token, bytes)` until the answer or its room ends, or `each` gives
  /// false, which it must instead of an exception. Returns their number.
  template <typename Each> int32_t generate(int32_t most, Each &&each) {
    auto call = [](void *user, int32_t token, const char *bytes, size_t count) noexcept -> int32_t {
      return !(*static_cast<std::remove_reference_t<Each> *>(user))(token,
                                                                    std::string_view(bytes, count));
    };
    int32_t count;
    const ingot_status status = ingot_generate(get(), most, call, std::addressof(each), &count);
    if (status != INGOT_INTERRUPTED)
      check(status);
    return count;
  }
  /// From any thread.
  void interrupt() noexcept { ingot_interrupt(get()); }

  std::vector<std::byte> save() const {
    size_t bytes;
    if (const ingot_status status = ingot_save(get(), nullptr, 0, &bytes);
        status != INGOT_BUFFER_TOO_SMALL)
      check(status);
    std::vector<std::byte> out(bytes);
    check(ingot_save(get(), out.data(), out.size(), &bytes));
    return out;
  }
  void restore(std::span<const std::byte> saved) {
    check(ingot_restore(get(), saved.data(), saved.size()));
  }

private:
  struct Destroy {
    void operator()(ingot_session *open) const noexcept { ingot_session_destroy(open); }
  };
  std::unique_ptr<ingot_session, Destroy> session;
};

} // namespace ingot
