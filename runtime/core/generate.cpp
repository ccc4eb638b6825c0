// What a model is, and text from it, token by token, for whom the single steps are too many.
#include "runtime/core/session.h"

using namespace ingot::runtime;

int32_t ingot_api_version(void) { return INGOT_API_VERSION; }

ingot_status ingot_model_info_of(const ingot_program *program, ingot_model_info *info) {
  if (!info)
    return INGOT_BAD_ARGUMENT;
  *info = {};
  const ingot::manifest::Manifest *manifest = program_manifest(program);
  if (!manifest)
    return INGOT_BAD_PROGRAM;
  auto text = [](const flatbuffers::String *string) { return string ? string->c_str() : ""; };
  const ingot::manifest::Model &model = *manifest->model();
  const ingot::manifest::Tokenizer &tables = *manifest->tokenizer();
  *info = {text(model.name()),
           text(model.architecture()),
           text(manifest->build()->source_hash()),
           model.parameters(),
           program->weights_bytes,
           model.layers(),
           model.embedding_length(),
           program->context_length,
           program->vocab_size,
           tables.bos(),
           tables.eos(),
           manifest->chat() != nullptr,
           program->prefill_tokens,
           manifest->memory() && manifest->memory()->embedding_stride() > 0,
           tables.add_bos()};
  return INGOT_OK;
}

ingot_status ingot_generate(ingot_session *session, int32_t most, ingot_token_callback callback,
                            void *user, int32_t *count) {
  if (!session || most < 0 || !callback || !count)
    return INGOT_BAD_ARGUMENT;
  for (*count = 0; *count < most;) {
    int32_t token;
    if (const ingot_status status = ingot_sample(session, &token))
      return status;
    if (ingot_is_stop_token(session, token))
      return INGOT_OK;
    const char *bytes;
    const int32_t length = ingot_token_bytes(session, token, &bytes);
    const ingot_status status = ingot_eval(session, &token, 1);
    if (status)
      return status;
    ++*count;
    if (callback(user, token, bytes, length < 0 ? 0 : static_cast<size_t>(length)))
      return INGOT_INTERRUPTED;
  }
  return INGOT_OK;
}
