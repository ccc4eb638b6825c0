// A prompt of PROMPT tokens and then DECODE single ones by llama.cpp, one thread, nothing else: for
// counts of instructions (instructions.py says how it is built).
//
//   llama_steps MODEL.gguf PROMPT DECODE
#include "llama.h"

#include <cstdio>
#include <cstdlib>
#include <vector>

int main(int count, char **arguments) {
  if (count != 4)
    return 2;
  const int prompt = std::atoi(arguments[2]), decode = std::atoi(arguments[3]);
  llama_log_set([](ggml_log_level, const char *, void *) {}, nullptr);
  llama_backend_init();
  llama_model *model = llama_model_load_from_file(arguments[1], llama_model_default_params());
  if (!model)
    return 1;
  llama_context_params parameters = llama_context_default_params();
  parameters.n_ctx = 2048;
  parameters.n_batch = parameters.n_ubatch = 512;
  parameters.n_threads = parameters.n_threads_batch = 1;
  llama_context *context = llama_init_from_model(model, parameters);
  if (!context)
    return 1;
  const int vocabulary = llama_vocab_n_tokens(llama_model_get_vocab(model));
  std::vector<llama_token> tokens(size_t(prompt > 0 ? prompt : 1));
  for (size_t i = 0; i < tokens.size(); ++i)
    tokens[i] = llama_token(i * 7919 % size_t(vocabulary));
  if (llama_decode(context, llama_batch_get_one(tokens.data(), prompt)))
    return 1;
  for (int i = 0; i < decode; ++i) {
    llama_token token = i * 104729 % vocabulary;
    if (llama_decode(context, llama_batch_get_one(&token, 1)))
      return 1;
  }
  std::printf("%g\n", double(llama_get_logits_ith(context, -1)[0]));
  std::fflush(stdout);
  std::_Exit(0);
}
