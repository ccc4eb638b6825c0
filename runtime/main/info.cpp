// --info and --version: the manifest, for people and as JSON.
#include "runtime/main/command.h"

#include "runtime/core/variants.h"
#include "runtime/platform/platform.h"

#include <string.h>

namespace ingot::runtime {
namespace {

constexpr int32_t one_sequence = 1;

const char *text_of(const flatbuffers::String *text) { return text ? text->c_str() : ""; }

/// Writes `"name": ` with the comma that goes before it.
struct Object {
  Writer &out;
  bool first = true;

  Object(Writer &out) : out(out) { out.text("{"); }
  Writer &key(const char *name) {
    out.text(first ? "" : ", ").json_string(name).text(": ");
    first = false;
    return out;
  }
  void string(const char *name, const flatbuffers::String *value) {
    key(name);
    if (value)
      out.json_string(value->c_str(), value->size());
    else
      out.text("null");
  }
  void number(const char *name, int64_t value) { key(name).number(value); }
  void real(const char *name, double value) { key(name).real(value); }
  void boolean(const char *name, bool value) { key(name).text(value ? "true" : "false"); }
  void end() { out.text("}"); }
};

void json_names(Writer &out,
                const flatbuffers::Vector<flatbuffers::Offset<manifest::Kernel>> *list) {
  out.text("[");
  for (uint32_t i = 0; list && i < list->size(); ++i)
    out.text(i ? ", " : "").json_string(text_of(list->Get(i)->name()));
  out.text("]");
}

void json_strings(Writer &out,
                  const flatbuffers::Vector<flatbuffers::Offset<flatbuffers::String>> *list) {
  out.text("[");
  for (uint32_t i = 0; list && i < list->size(); ++i) {
    out.text(i ? ", " : "");
    out.json_string(list->Get(i)->c_str(), list->Get(i)->size());
  }
  out.text("]");
}

void model_json(Writer &out, const manifest::Model &model) {
  Object object(out);
  object.string("architecture", model.architecture());
  object.string("name", model.name());
  object.number("parameters", static_cast<int64_t>(model.parameters()));
  object.number("layers", model.layers());
  object.number("embedding_length", model.embedding_length());
  object.number("feed_forward_length", model.feed_forward_length());
  object.number("heads", model.heads());
  object.number("kv_heads", model.kv_heads());
  object.number("head_dim", model.head_dim());
  object.number("vocab_size", model.vocab_size());
  object.number("context_length", model.context_length());
  object.number("model_context_length", model.model_context_length());
  object.real("rope_theta", model.rope_theta());
  object.real("rms_norm_eps", model.rms_norm_eps());
  object.end();
}

/// `in_use`: what a session would run here, -1 when nothing runs.
void variants_json(Writer &out, const manifest::Build &build, int32_t in_use) {
  out.text("[");
  for (uint32_t i = 0; i < build.variants()->size(); ++i) {
    const manifest::Variant &variant = *build.variants()->Get(i);
    const char *missing = missing_feature(variant, platform::has_feature);
    out.text(i ? ", " : "");
    Object row(out);
    row.string("name", variant.name());
    row.string("isa", variant.isa());
    json_strings(row.key("features"), variant.features());
    if (missing)
      row.key("missing_feature").json_string(missing);
    else
      row.key("missing_feature").text("null");
    row.boolean("in_use", static_cast<int32_t>(i) == in_use);
    row.end();
  }
  out.text("]");
}

void build_json(Writer &out, const manifest::Build &build, int32_t in_use) {
  Object object(out);
  object.string("ingot_version", build.ingot_version());
  object.string("target", build.target());
  object.string("isa",
                in_use < 0 ? nullptr : build.variants()->Get(static_cast<uint32_t>(in_use))->isa());
  variants_json(object.key("variants"), build, in_use);
  object.string("activations", build.activations());
  object.string("kv_cache", build.kv_cache());
  object.string("quantize", build.quantize());
  object.string("source_file", build.source_file());
  object.string("source_hash", build.source_hash());
  object.string("weights_file", build.weights_file());
  object.end();
}

void chat_json(Writer &out, const manifest::Chat &chat) {
  Object object(out);
  object.string("begin_with_system", chat.begin_with_system());
  object.string("end_system", chat.end_system());
  object.string("begin_without_system", chat.begin_without_system());
  object.string("begin_user", chat.begin_user());
  object.string("end_user", chat.end_user());
  object.string("begin_assistant", chat.begin_assistant());
  object.string("end_assistant", chat.end_assistant());
  object.string("generation_prompt", chat.generation_prompt());
  object.boolean("trim_system", chat.trim_system());
  object.boolean("trim_user", chat.trim_user());
  object.boolean("trim_assistant", chat.trim_assistant());
  object.end();
}

void tokenizer_json(Writer &out, const manifest::Tokenizer &tables) {
  Object object(out);
  object.string("model", tables.model());
  object.string("pre", tables.pre());
  object.boolean("add_bos", tables.add_bos());
  object.boolean("add_space_prefix", tables.add_space_prefix());
  object.number("bos", tables.bos());
  object.number("eos", tables.eos());
  object.key("stop").text("[");
  for (uint32_t i = 0; tables.stop() && i < tables.stop()->size(); ++i)
    out.text(i ? ", " : "").number(tables.stop()->Get(i));
  out.text("]");
  object.end();
}

void step_json(Writer &out, const manifest::Manifest &manifest, const manifest::Step &step) {
  Object object(out);
  object.string("name", step.name());
  object.number("tokens", step.tokens());
  object.number("launches", step.launches() ? step.launches()->size() : 0);
  object.key("buffers").text("[");
  for (uint32_t i = 0; step.buffers() && i < step.buffers()->size(); ++i) {
    const manifest::Buffer &buffer = *step.buffers()->Get(i);
    out.text(i ? ", " : "");
    Object row(out);
    row.string("kernel", writer_of(manifest, step, buffer));
    row.number("offset", static_cast<int64_t>(buffer.offset()));
    row.number("bytes", static_cast<int64_t>(buffer.bytes()));
    row.number("first_use", buffer.first_use());
    row.number("last_use", buffer.last_use());
    row.end();
  }
  out.text("]");
  object.end();
}

/// What `tokens` tokens of one conversation take.
Plan plan_for(const Command &command, const manifest::Manifest &manifest, int32_t tokens) {
  const int32_t threads =
      command.options->threads ? command.options->threads : platform::core_count();
  return conversation_plan(sizes_of(*command.program, &manifest), tokens, threads);
}

template <int32_t count, typename Sizes>
void regions_json(Object &object, const PlanRow (&regions)[count], Sizes sizes) {
  Writer &out = object.key("regions").text("[");
  for (const PlanRow &region : regions) {
    out.text(&region == regions ? "" : ", ");
    Object row(out);
    row.key("name").json_string(region.name);
    sizes(row, region);
    row.end();
  }
  out.text("]");
}

/// The first column of a table.
Writer &region_name(Writer &out, const char *name) {
  out.text("  ").text(name);
  for (size_t length = strlen(name); length < 19; ++length)
    out.text(" ");
  return out;
}

void plan_json(Writer &out, const Plan &plan, int32_t tokens) {
  Object object(out);
  object.number("tokens", tokens);
  object.number("reserved_bytes", static_cast<int64_t>(plan.reserved));
  object.number("planned_bytes", static_cast<int64_t>(plan.planned));
  regions_json(object, plan.rows, [](Object &row, const PlanRow &region) {
    row.number("reserved_bytes", static_cast<int64_t>(region.reserved));
    row.number("planned_bytes", static_cast<int64_t>(region.planned));
  });
  object.end();
}

void kibibytes(Writer &out, uint64_t bytes) {
  char text[32];
  Writer number(text, sizeof text);
  number.grouped((bytes + 1023) / 1024);
  for (size_t i = number.used; i < 12; ++i)
    out.text(" ");
  out.bytes(text, number.used).text(" KiB");
}

void plan_text(Writer &out, const Plan &some, int32_t some_tokens, const Plan &all,
               int32_t all_tokens) {
  out.text("\nplanned memory: what a conversation of that many tokens touches, in whole pages\n")
      .text("                             reserved");
  for (int32_t tokens : {some_tokens, all_tokens}) {
    char text[32];
    Writer number(text, sizeof text);
    number.grouped(static_cast<uint64_t>(tokens)).text(" tokens");
    for (size_t i = number.used; i < 16; ++i)
      out.text(" ");
    out.bytes(text, number.used);
  }
  out.text("\n");
  for (int32_t i = 0; i <= region_count; ++i) {
    kibibytes(region_name(out, all.rows[i].name), all.rows[i].reserved);
    kibibytes(out, some.rows[i].planned);
    kibibytes(out, all.rows[i].planned);
    out.text("\n");
  }
  kibibytes(region_name(out, "all"), all.reserved);
  kibibytes(out, some.planned);
  kibibytes(out, all.planned);
  out.text("\n");
}

/// Null where no kernels are for a device.
void device_json(Writer &out, const ingot_program &program, const manifest::Manifest &manifest) {
  if (!needs_device_memory(manifest)) {
    out.text("null");
    return;
  }
  const DevicePlan plan =
      device_plan(sizes_of(program, &manifest), program.weights_bytes, one_sequence);
  Object object(out);
  object.number("bytes", static_cast<int64_t>(plan.bytes));
  regions_json(object, plan.rows, [](Object &row, const PlanRow &region) {
    row.number("bytes", static_cast<int64_t>(region.reserved));
  });
  object.end();
}

void device_text(Writer &out, const ingot_program &program, const manifest::Manifest &manifest) {
  if (!needs_device_memory(manifest))
    return;
  const DevicePlan plan =
      device_plan(sizes_of(program, &manifest), program.weights_bytes, one_sequence);
  out.text("\ndevice memory: what a session of one sequence takes of it when it starts\n");
  const auto row = [&](const char *name, uint64_t bytes) {
    kibibytes(region_name(out, name), bytes);
    out.text("\n");
  };
  for (const PlanRow &region : plan.rows)
    row(region.name, region.reserved);
  row("all", plan.bytes);
}

void lists_json(Object &object, const manifest::Manifest &manifest) {
  Writer &out = object.key("weights").text("[");
  for (uint32_t i = 0; manifest.weights() && i < manifest.weights()->size(); ++i) {
    const manifest::Weight &weight = *manifest.weights()->Get(i);
    out.text(i ? ", " : "");
    Object row(out);
    row.string("name", weight.name());
    row.string("source_encoding", weight.source_encoding());
    row.string("encoding", weight.encoding());
    row.number("rows", weight.rows());
    row.number("columns", weight.columns());
    row.number("offset", static_cast<int64_t>(weight.offset()));
    row.number("bytes", static_cast<int64_t>(weight.bytes()));
    row.end();
  }
  out.text("]");
  object.key("steps").text("[");
  for (uint32_t i = 0; manifest.steps() && i < manifest.steps()->size(); ++i) {
    out.text(i ? ", " : "");
    step_json(out, manifest, *manifest.steps()->Get(i));
  }
  out.text("]");
  object.key("caches").text("[");
  for (uint32_t i = 0; manifest.caches() && i < manifest.caches()->size(); ++i) {
    const manifest::Cache &cache = *manifest.caches()->Get(i);
    out.text(i ? ", " : "");
    Object row(out);
    row.string("name", cache.name());
    row.number("offset", static_cast<int64_t>(cache.offset()));
    row.number("bytes", static_cast<int64_t>(cache.bytes()));
    row.end();
  }
  out.text("]");
  json_names(object.key("kernels"), manifest.kernels());
}

void mebibytes(Writer &out, uint64_t bytes) {
  out.fixed(static_cast<double>(bytes) / (1 << 20), 1).text(" MiB");
}

/// "x86-64-v4-vnni (avx512-vnni: this processor has no avx512f), x86-64-v3 (avx2: in use)"
void variants_text(Writer &out, const manifest::Build &build, int32_t in_use) {
  for (uint32_t i = 0; i < build.variants()->size(); ++i) {
    const manifest::Variant &variant = *build.variants()->Get(i);
    const char *missing = missing_feature(variant, platform::has_feature);
    out.text(i ? ", " : "").text(text_of(variant.name())).text(" (").text(text_of(variant.isa()));
    if (missing)
      out.text(": this processor has no ").text(missing);
    else
      out.text(static_cast<int32_t>(i) == in_use ? ": in use" : ": runs here, too");
    out.text(")");
  }
}

void print_text(Writer &out, const ingot_program &program, const manifest::Manifest &manifest,
                int32_t in_use) {
  const manifest::Model &model = *manifest.model();
  const manifest::Build &build = *manifest.build();
  out.text("model      ")
      .text(text_of(model.name()))
      .text(" (")
      .text(text_of(model.architecture()))
      .text("), ")
      .grouped(model.parameters())
      .text(" parameters\nshape      ")
      .number(model.layers())
      .text(" layers, width ")
      .number(model.embedding_length())
      .text(", ")
      .number(model.heads())
      .text(" heads of ")
      .number(model.head_dim())
      .text(", ")
      .number(model.kv_heads())
      .text(" key/value heads, vocabulary ")
      .grouped(static_cast<uint64_t>(program.vocab_size))
      .text("\ncontext    ")
      .grouped(static_cast<uint64_t>(program.context_length))
      .text(" tokens (the model allows ")
      .grouped(static_cast<uint64_t>(model.model_context_length()))
      .text(")\nsource     ")
      .text(text_of(build.source_file()))
      .text(" (")
      .text(text_of(build.source_hash()))
      .text(")\nquantize   ")
      .text(build.quantize() && build.quantize()->size() ? build.quantize()->c_str()
                                                         : "as in the source")
      .text("\nbuilt      by ingot ")
      .text(text_of(build.ingot_version()))
      .text(" for ")
      .text(text_of(build.target()))
      .text("\nkernels    ");
  variants_text(out, build, in_use);
  out.text("\nmath       ")
      .text(text_of(build.activations()))
      .text(" activations, ")
      .text(text_of(build.kv_cache()))
      .text(" key/value cache\nsteps      prefill ")
      .number(program.prefill_tokens)
      .text(" tokens, score ")
      .number(program.score_tokens);
  for (int32_t i = 0; i < program.batch_steps; ++i)
    out.text(i ? ", " : ", batch ").number(program.batch_tokens[i]);
  if (sizes_of(program, &manifest).embedding_stride)
    out.text(", embeddings");
  out.text("\nmemory     weights ");
  mebibytes(out, program.weights_bytes);
  if (build.weights_file())
    out.text(" (in ").text(build.weights_file()->c_str()).text(")");
  out.text(", arena ");
  mebibytes(out, program.arena_bytes);
  out.text(", caches of a sequence ");
  mebibytes(out, program.cache_bytes);
  out.text("\nchat       ")
      .text(manifest.chat() ? "yes" : "no: ")
      .text(manifest.chat() ? "" : text_of(manifest.chat_note()))
      .text("\n");
}

} // namespace

int run_info(Command &command) {
  const ingot_program &program = *command.program;
  const manifest::Manifest *manifest = program_manifest(&program);
  if (!manifest)
    return fail(command, "cannot start", INGOT_BAD_PROGRAM);
  const manifest::Build &build = *manifest->build();
  const char *isa = command.options->isa;
  const int32_t named = isa ? named_variant(build, isa, platform::has_feature) : -1;
  if (isa && (named < 0 || missing_feature(*build.variants()->Get(static_cast<uint32_t>(named)),
                                           platform::has_feature)))
    return refuse_processor(command);
  const int32_t in_use = isa ? named : best_variant(build, platform::has_feature);
  Writer &out = command.out;
  if (command.options->mode == Mode::version) {
    out.text(text_of(manifest->model()->name()))
        .text(", compiled by ingot ")
        .text(text_of(manifest->build()->ingot_version()))
        .text("\n");
    return exit_ok;
  }
  const int32_t all_tokens = program.context_length;
  const Plan all = plan_for(command, *manifest, all_tokens);
  if (!command.options->json) {
    const int32_t some_tokens = (all_tokens + 3) / 4;
    print_text(out, program, *manifest, in_use);
    plan_text(out, plan_for(command, *manifest, some_tokens), some_tokens, all, all_tokens);
    device_text(out, program, *manifest);
    return exit_ok;
  }
  Object object(out);
  model_json(object.key("model"), *manifest->model());
  build_json(object.key("build"), build, in_use);
  object.key("chat");
  if (manifest->chat())
    chat_json(out, *manifest->chat());
  else
    out.text("null");
  object.string("chat_note", manifest->chat_note());
  tokenizer_json(object.key("tokenizer"), *manifest->tokenizer());
  object.number("prefill_tokens", program.prefill_tokens);
  object.number("score_tokens", program.score_tokens);
  object.key("batch_tokens").text("[");
  for (int32_t i = 0; i < program.batch_steps; ++i)
    out.text(i ? ", " : "").number(program.batch_tokens[i]);
  out.text("]");
  object.boolean("embeddings", sizes_of(program, manifest).embedding_stride > 0);
  object.number("weights_bytes", static_cast<int64_t>(program.weights_bytes));
  object.number("arena_bytes", static_cast<int64_t>(program.arena_bytes));
  object.number("cache_bytes", static_cast<int64_t>(program.cache_bytes));
  plan_json(object.key("planned_memory"), all, all_tokens);
  device_json(object.key("device_memory"), program, *manifest);
  lists_json(object, *manifest);
  object.end();
  out.text("\n");
  return exit_ok;
}

} // namespace ingot::runtime
