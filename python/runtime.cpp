// The module `ingot._runtime`: models and sessions for Python. Long calls let other threads run.
#include "library.h"

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <functional>
#include <optional>
#include <vector>

namespace nb = nanobind;
using namespace nb::literals;

namespace ingot::python {
namespace {

using Tokens = std::vector<int32_t>;
using Row = nb::ndarray<nb::numpy, const float, nb::ndim<1>>;
using Rows = nb::ndarray<nb::numpy, float, nb::ndim<2>>;

/// Evaluations look for Ctrl-C each time they have taken so many of their largest steps.
constexpr size_t steps_between_signals = 4;

int32_t countOf(const Tokens &tokens) { return static_cast<int32_t>(tokens.size()); }

/// An array that Python owns.
Rows given(std::unique_ptr<float[]> rows, size_t count, size_t length) {
  float *data = rows.release();
  nb::capsule owner(data, [](void *memory) noexcept { delete[] static_cast<float *>(memory); });
  return Rows(data, {count, length}, owner);
}

/// Roles (as ingot_role numbers them) and texts.
using Messages = std::vector<std::pair<int32_t, std::string>>;

std::vector<ingot_message> viewsOf(const Messages &messages) {
  std::vector<ingot_message> views;
  for (const auto &[role, text] : messages)
    views.push_back({static_cast<ingot_role>(role), text.data(), text.size()});
  return views;
}

class Session {
public:
  Session(std::shared_ptr<Library> model, int32_t threads, int32_t sequences,
          std::optional<std::string> isa, uint64_t max_text_bytes)
      : library(std::move(model)), api(library->api) {
    ingot_session_options options = api.ingot_default_session_options();
    options.threads = threads;
    options.sequences = sequences;
    options.isa = isa ? isa->c_str() : nullptr;
    options.max_text_bytes = max_text_bytes;
    options.weights = library->weights;
    char problem[INGOT_PROBLEM_BYTES] = "";
    options.problem = problem;
    const ingot_status status = api.ingot_session_create(library->program, &options, &session);
    check(api, status, *problem ? problem : "a session");
  }
  ~Session() { api.ingot_session_destroy(session); }
  Session(const Session &) = delete;

  /// One thread at a time is in a session; a second one is told so.
  class Use {
  public:
    explicit Use(Session &used) : session(used) {
      if (session.busy.exchange(true))
        throw Error("the session is in use by another thread");
    }
    ~Use() { session.busy = false; }

  private:
    Session &session;
  };

  void finish(ingot_status status, const std::string &what) {
    if (status == INGOT_INTERRUPTED)
      api.ingot_clear_interrupt(session);
    check(api, status, what);
  }

  /// Runs `step(begin, count)` over all of `tokens`, in parts, so that Ctrl-C is noticed.
  template <typename Step> void inParts(const Tokens &tokens, const std::string &what, Step step) {
    if (const int64_t room = api.ingot_context_length(session) - api.ingot_position(session);
        static_cast<int64_t>(tokens.size()) > room)
      throw ContextFull(what + ": " + std::to_string(tokens.size()) + " tokens do not fit, " +
                        std::to_string(room) + " of the context's " +
                        std::to_string(api.ingot_context_length(session)) + " are left");
    for (int32_t token : tokens)
      if (token < 0 || token >= api.ingot_vocab_size(session))
        throw std::invalid_argument(what + ": " + std::to_string(token) +
                                    " is no token, those are 0 to " +
                                    std::to_string(api.ingot_vocab_size(session) - 1));
    const size_t part =
        steps_between_signals * static_cast<size_t>(std::max(library->info.prefill_tokens, 1));
    for (size_t begin = 0; begin < tokens.size(); begin += part) {
      const size_t count = std::min(part, tokens.size() - begin);
      ingot_status status;
      {
        nb::gil_scoped_release others;
        status = step(begin, static_cast<int32_t>(count));
      }
      finish(status, what);
      if (PyErr_CheckSignals())
        throw nb::python_error();
    }
  }

  void eval(const Tokens &tokens) {
    Use use(*this);
    inParts(tokens, "eval", [&](size_t begin, int32_t count) {
      return api.ingot_eval(session, tokens.data() + begin, count);
    });
  }

  Rows score(const Tokens &tokens) {
    Use use(*this);
    const auto vocabulary = static_cast<size_t>(api.ingot_vocab_size(session));
    auto rows = std::make_unique<float[]>(std::max<size_t>(tokens.size() * vocabulary, 1));
    struct Copy {
      float *to;
      size_t row;
    } copy{rows.get(), vocabulary};
    auto take = [](void *user, int32_t first, int32_t count, const float *logits, int32_t stride) {
      const Copy &copy = *static_cast<Copy *>(user);
      for (int32_t i = 0; i < count; ++i)
        memcpy(copy.to + static_cast<size_t>(first + i) * copy.row,
               logits + static_cast<size_t>(i) * static_cast<size_t>(stride),
               copy.row * sizeof(float));
      return int32_t{0};
    };
    inParts(tokens, "score", [&](size_t begin, int32_t count) {
      copy.to = rows.get() + begin * vocabulary;
      return api.ingot_eval_all(session, tokens.data() + begin, count, take, &copy);
    });
    return given(std::move(rows), tokens.size(), vocabulary);
  }

  Tokens chatTokens(const Messages &messages) {
    Use use(*this);
    const std::vector<ingot_message> views = viewsOf(messages);
    const auto given = static_cast<int32_t>(views.size());
    int32_t count = 0;
    const ingot_status status =
        api.ingot_chat_tokens(session, views.data(), given, nullptr, 0, &count);
    if (status != INGOT_BUFFER_TOO_SMALL)
      finish(status, "chat");
    Tokens tokens(static_cast<size_t>(std::max(count, 0)));
    finish(
        api.ingot_chat_tokens(session, views.data(), given, tokens.data(), countOf(tokens), &count),
        "chat");
    return tokens;
  }

  void chatEval(const Messages &messages) {
    Use use(*this);
    const std::vector<ingot_message> views = viewsOf(messages);
    ingot_status status;
    {
      nb::gil_scoped_release others;
      status = api.ingot_chat_eval(session, views.data(), static_cast<int32_t>(views.size()));
    }
    finish(status, "chat");
  }

  Rows embed(const Tokens &tokens, bool mean, bool each) {
    Use use(*this);
    const auto length = static_cast<size_t>(library->info.embedding_length);
    const size_t rows = each ? tokens.size() : 1;
    auto out = std::make_unique<float[]>(std::max<size_t>(rows * length, 1));
    ingot_status status;
    {
      nb::gil_scoped_release others;
      status = api.ingot_embed(session, tokens.data(), countOf(tokens),
                               each   ? INGOT_POOLING_NONE
                               : mean ? INGOT_POOLING_MEAN
                                      : INGOT_POOLING_LAST,
                               out.get(), rows * length);
    }
    finish(status, "embed");
    return given(std::move(out), rows, length);
  }

  void evalBatch(const std::vector<int32_t> &sequences, const Tokens &tokens) {
    Use use(*this);
    if (sequences.size() != tokens.size())
      throw std::invalid_argument("eval_batch: a token for each sequence, but there are " +
                                  std::to_string(tokens.size()) + " for " +
                                  std::to_string(sequences.size()));
    ingot_status status;
    {
      nb::gil_scoped_release others;
      status = api.ingot_eval_batch(session, sequences.data(), tokens.data(), countOf(tokens));
    }
    finish(status, "eval_batch");
  }

  Tokens encode(const std::string &text, bool special, bool bos) {
    Use use(*this);
    const size_t first = bos && library->info.add_bos;
    Tokens tokens(first + text.size() + 1, library->info.bos_token); // no text has more
    int32_t count = 0;
    ingot_status status;
    {
      nb::gil_scoped_release others;
      status = api.ingot_tokenize(session, text.data(), text.size(), special, tokens.data() + first,
                                  countOf(tokens) - static_cast<int32_t>(first), &count);
    }
    finish(status, "encode");
    tokens.resize(first + static_cast<size_t>(count));
    return tokens;
  }

  nb::bytes decode(const Tokens &tokens) {
    Use use(*this);
    size_t bytes = 0;
    const ingot_status status =
        api.ingot_detokenize(session, tokens.data(), countOf(tokens), nullptr, 0, &bytes);
    if (status != INGOT_BUFFER_TOO_SMALL)
      finish(status, "decode");
    std::string text(bytes, '\0');
    finish(api.ingot_detokenize(session, tokens.data(), countOf(tokens), text.data(), text.size(),
                                &bytes),
           "decode");
    return nb::bytes(text.data(), text.size());
  }

  int32_t sample() {
    Use use(*this);
    int32_t token;
    finish(api.ingot_sample(session, &token), "sample");
    return token;
  }

  void setSampling(float temperature, int32_t top_k, float top_p, float min_p, float repeat_penalty,
                   int32_t repeat_window, uint64_t seed) {
    Use use(*this);
    const ingot_sampling sampling{temperature,    top_k,         top_p, min_p,
                                  repeat_penalty, repeat_window, seed};
    finish(api.ingot_set_sampling(session, &sampling), "sampling");
  }

  nb::bytes save() {
    Use use(*this);
    size_t bytes = 0;
    if (const ingot_status status = api.ingot_save(session, nullptr, 0, &bytes);
        status != INGOT_BUFFER_TOO_SMALL)
      finish(status, "save");
    std::string saved(bytes, '\0');
    finish(api.ingot_save(session, saved.data(), saved.size(), &bytes), "save");
    return nb::bytes(saved.data(), saved.size());
  }

  void restore(const nb::bytes &saved) {
    Use use(*this);
    finish(api.ingot_restore(session, saved.c_str(), saved.size()), "restore");
  }

  void truncate(int32_t position) {
    Use use(*this);
    finish(api.ingot_truncate(session, position), "truncate");
  }
  void select(int32_t sequence) {
    Use use(*this);
    finish(api.ingot_select(session, sequence), "select");
  }
  void fork(int32_t from, int32_t to) {
    Use use(*this);
    finish(api.ingot_fork(session, from, to), "fork");
  }

  Tokens history() const {
    const int32_t *tokens = api.ingot_history(session);
    return Tokens(tokens, tokens + api.ingot_position(session));
  }

  const std::shared_ptr<Library> library;
  const Functions &api;
  ingot_session *session = nullptr;
  std::atomic<bool> busy{false};
};

/// A view of logits, which keeps the session.
std::optional<Row> view(nb::handle self, const float *row) {
  if (!row)
    return std::nullopt;
  const Session &session = nb::cast<const Session &>(self);
  return Row(row, {static_cast<size_t>(session.api.ingot_vocab_size(session.session))}, self);
}

void bindModel(nb::module_ &module) {
  auto text = [](auto member) {
    return [member](const Library &library) { return std::string(library.info.*member); };
  };
  auto number = [](auto member) {
    return [member](const Library &library) { return library.info.*member; };
  };
  nb::class_<Library>(module, "Library", "A model's shared library, loaded.")
      .def(nb::init<const std::string &, const std::string &, const std::string &, bool>(),
           "path"_a, "symbol"_a, "weights"_a, "verify"_a)
      .def_ro("path", &Library::path)
      .def_prop_ro("name", text(&ingot_model_info::name))
      .def_prop_ro("architecture", text(&ingot_model_info::architecture))
      .def_prop_ro("source_hash", text(&ingot_model_info::source_hash))
      .def_prop_ro("parameters", number(&ingot_model_info::parameters))
      .def_prop_ro("weights_bytes", number(&ingot_model_info::weights_bytes))
      .def_prop_ro("layers", number(&ingot_model_info::layers))
      .def_prop_ro("embedding_length", number(&ingot_model_info::embedding_length))
      .def_prop_ro("context_length", number(&ingot_model_info::context_length))
      .def_prop_ro("vocab_size", number(&ingot_model_info::vocab_size))
      .def_prop_ro("bos_token", number(&ingot_model_info::bos_token))
      .def_prop_ro("eos_token", number(&ingot_model_info::eos_token))
      .def_prop_ro("add_bos", [](const Library &library) { return library.info.add_bos != 0; })
      .def_prop_ro("prefill_tokens", number(&ingot_model_info::prefill_tokens))
      .def_prop_ro("has_chat_template",
                   [](const Library &library) { return library.info.has_chat_template != 0; })
      .def_prop_ro("has_embeddings",
                   [](const Library &library) { return library.info.has_embeddings != 0; });
}

void bindSession(nb::module_ &module) {
  nb::class_<Session>(module, "Session",
                      "Evaluates a model's tokens: a KV cache, threads, and what they compute.")
      .def(nb::init<std::shared_ptr<Library>, int32_t, int32_t, std::optional<std::string>,
                    uint64_t>(),
           "library"_a, "threads"_a = 0, "sequences"_a = 1, "isa"_a = nb::none(),
           "max_text_bytes"_a = 1 << 20)
      .def(
          "encode", &Session::encode, "text"_a, "special"_a = false, "bos"_a = false,
          "Token ids of a text; with special, texts like <|im_end|> are the tokens they name, with "
          "bos, bos_token is before them where the model wants it there.")
      .def("decode_bytes", &Session::decode, "tokens"_a, "The bytes of tokens, joined.")
      .def(
          "is_stop_token",
          [](const Session &s, int32_t token) {
            return s.api.ingot_is_stop_token(s.session, token) != 0;
          },
          "token"_a, "Whether the token ends an answer.")
      .def("eval", &Session::eval, "tokens"_a,
           "Evaluates tokens after those that are; the last one's logits are then in `logits`.")
      .def("score", &Session::score, "tokens"_a,
           "As eval, but gives the logits behind every token: float32 [tokens, vocab_size].")
      .def("chat_tokens", &Session::chatTokens, "messages"_a)
      .def("chat_eval", &Session::chatEval, "messages"_a)
      .def("embed_rows", &Session::embed, "tokens"_a, "mean"_a, "each"_a)
      .def("sample", &Session::sample,
           "A token, drawn from the logits as sampling() says; it is not evaluated.")
      .def("sampling", &Session::setSampling, nb::kw_only(), "temperature"_a = 0.8f, "top_k"_a = 40,
           "top_p"_a = 0.95f, "min_p"_a = 0.0f, "repeat_penalty"_a = 1.0f, "repeat_window"_a = 64,
           "seed"_a = 0, "How sample() draws; starts its random numbers anew from the seed.")
      .def_prop_ro(
          "logits",
          [](nb::handle_t<Session> self) {
            const Session &session = nb::cast<const Session &>(self);
            return view(self, session.api.ingot_logits(session.session));
          },
          "Of the last token, float32 [vocab_size], read-only; None where nothing is "
          "evaluated. The session's own memory: the next evaluation changes it.")
      .def_prop_ro(
          "position", [](const Session &s) { return s.api.ingot_position(s.session); },
          "How many tokens are evaluated.")
      .def_prop_ro("history", &Session::history, "The tokens that are evaluated.")
      .def_prop_ro("threads", [](const Session &s) { return s.api.ingot_threads(s.session); })
      .def_prop_ro(
          "isa", [](const Session &s) { return std::string(s.api.ingot_isa(s.session)); },
          "The machine that the kernels in use were compiled for.")
      .def("truncate", &Session::truncate, "position"_a, "Forgets everything from `position` on.")
      .def("save", &Session::save, "The selected sequence, as bytes.")
      .def("restore", &Session::restore, "saved"_a,
           "Replaces the selected sequence by a saved one of the same model.")
      .def(
          "cancel", [](Session &s) { s.api.ingot_interrupt(s.session); },
          "From any thread: the evaluation under way, or else the next, raises Cancelled.")
      .def_prop_ro("sequences", [](const Session &s) { return s.api.ingot_sequences(s.session); })
      .def_prop_ro("selected", [](const Session &s) { return s.api.ingot_selected(s.session); })
      .def("select", &Session::select, "sequence"_a,
           "Makes a sequence the one that everything but eval_batch works on.")
      .def("fork", &Session::fork, "source"_a, "to"_a, "Makes sequence `to` a copy of `source`.")
      .def("eval_batch", &Session::evalBatch, "sequences"_a, "tokens"_a,
           "Evaluates one token for each of several sequences, at once.")
      .def(
          "batch_logits",
          [](nb::handle_t<Session> self, int32_t i) {
            const Session &session = nb::cast<const Session &>(self);
            return view(self, session.api.ingot_batch_logits(session.session, i));
          },
          "i"_a, "Of the i-th token of the last eval_batch, as `logits`.");
}

} // namespace
} // namespace ingot::python

NB_MODULE(_runtime, module) {
  using namespace ingot::python;
  module.doc() = "Models and sessions; `ingot` is what to import.";
  nb::exception<LoadError>(module, "LoadError", PyExc_OSError);
  nb::exception<Error> error(module, "Error", PyExc_RuntimeError);
  nb::exception<ContextFull>(module, "ContextFull", error);
  nb::exception<Cancelled>(module, "Cancelled", error);
  module.attr("API_VERSION") = INGOT_API_VERSION;
  bindModel(module);
  bindSession(module);
}
