// What is in a compiled program: bytes by what they are for, weights, and the memory that is
// planned.
#include "tools/ingot/InspectProgram.h"

#include "tools/ingot/Disassembly.h"
#include "tools/ingot/InspectHtml.h"

#include "codegen/Variants.h"
#include "codegen/link/Sections.h"
#include "runtime/core/plan.h"
#include "runtime/include/ingot.h"
#include "runtime/text/tokenizer.h"
#include "support/Error.h"

#include "llvm/Object/ELFObjectFile.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/raw_ostream.h"

#include <map>

namespace ingot {
namespace {

namespace json = llvm::json;

llvm::StringRef orEmpty(const flatbuffers::String *text) {
  return text ? llvm::StringRef(text->c_str(), text->size()) : llvm::StringRef();
}

struct Section {
  std::string name;
  uint64_t bytes;
  const char *holds; ///< what for
  /// Pages stay those of the file, clean, shared by all processes that run the program. Others are
  /// anonymous memory as soon as they are written.
  bool file_backed;
};

struct Program {
  const manifest::Manifest *manifest = nullptr;
  std::vector<Section> sections; ///< allocated, by address
  runtime::ProgramSizes sizes{};
  uint64_t tokenizer_bytes = 0, weight_bytes = 0;

  /// Bytes by what they are for. Runtime, kernels, steps, constants (of all three), data, unwind
  /// tables and the manifest without its tokenizer are the program "without weights and tokenizer".
  std::map<llvm::StringRef, uint64_t> totals() const {
    std::map<llvm::StringRef, uint64_t> out;
    for (const Section &section : sections)
      out[section.holds] += section.bytes;
    out["tokenizer"] = tokenizer_bytes;
    out["manifest"] -= tokenizer_bytes;
    return out;
  }
  uint64_t codeBytes() const {
    uint64_t bytes = 0;
    for (const auto &[name, size] : totals())
      if (name != "weights" && name != "tokenizer")
        bytes += size;
    return bytes;
  }
  uint64_t fileBacked(bool yes) const {
    uint64_t bytes = 0;
    for (const Section &section : sections)
      bytes += section.file_backed == yes ? section.bytes : 0;
    return bytes;
  }
};

/// Bytes of a flatbuffer vector with its length.
template <typename T> uint64_t vectorBytes(const flatbuffers::Vector<T> *vector) {
  return vector ? vector->size() * sizeof(T) + sizeof(uint32_t) : 0;
}

uint64_t tokenizerBytes(const manifest::Tokenizer *t) {
  if (!t)
    return 0;
  return vectorBytes(t->token_offsets()) + vectorBytes(t->token_bytes()) +
         vectorBytes(t->token_kind()) + vectorBytes(t->byte_tokens()) +
         vectorBytes(t->merge_keys()) + vectorBytes(t->merge_ranks()) +
         vectorBytes(t->merge_results()) + vectorBytes(t->special()) +
         vectorBytes(t->class_index()) + vectorBytes(t->class_blocks());
}

const char *purpose(const llvm::object::ELFSectionRef &section, llvm::StringRef name) {
  const uint64_t flags = section.getFlags();
  if (name == kManifestSection)
    return "manifest";
  if (name == kKernelsSection)
    return "kernels";
  if (name == kStepsSection)
    return "steps";
  if (name.starts_with(".eh_frame"))
    return "unwind tables";
  if (flags & llvm::ELF::SHF_EXECINSTR)
    return "runtime";
  if (flags & llvm::ELF::SHF_WRITE)
    return "data";
  return "constants";
}

/// Each target names the section of the weights as its linker needs it, and may leave room in it.
void findWeights(std::vector<Section> &sections, uint64_t weight_bytes) {
  Section *weights = nullptr;
  for (Section &section : sections)
    if (section.holds == llvm::StringRef("constants") && section.bytes >= weight_bytes &&
        (!weights || section.bytes < weights->bytes))
      weights = &section;
  if (weights)
    weights->holds = "weights";
}

llvm::Expected<Program> readProgram(const llvm::object::ObjectFile &object, llvm::StringRef path) {
  Program program;
  for (const llvm::object::SectionRef &section : object.sections()) {
    auto name = section.getName();
    if (!name)
      return name.takeError();
    if (*name != kManifestSection)
      continue;
    auto bytes = section.getContents();
    if (!bytes)
      return bytes.takeError();
    flatbuffers::Verifier verifier(reinterpret_cast<const uint8_t *>(bytes->data()), bytes->size());
    if (!manifest::VerifyManifestBuffer(verifier))
      return inputError(path, "section " + llvm::Twine(kManifestSection), "is damaged");
    program.manifest = manifest::GetManifest(bytes->data());
  }
  if (!program.manifest || !program.manifest->model() || !program.manifest->build() ||
      !program.manifest->build()->variants())
    return inputError(path, "", "is an ELF file, but not a program made by ingot");
  if (!runtime::sizes_of(*program.manifest, &program.sizes))
    return inputError(path, "section " + llvm::Twine(kManifestSection),
                      "does not say what memory the program needs");
  program.tokenizer_bytes = tokenizerBytes(program.manifest->tokenizer());

  uint64_t &weight_bytes = program.weight_bytes;
  if (program.manifest->weights())
    for (const auto *weight : *program.manifest->weights())
      weight_bytes = std::max<uint64_t>(weight_bytes, weight->offset() + weight->bytes());
  for (const llvm::object::SectionRef &section : object.sections()) {
    const llvm::object::ELFSectionRef elf(section);
    // The linker's padding behind read-only data takes no memory.
    if (!(elf.getFlags() & llvm::ELF::SHF_ALLOC) || !section.getSize() ||
        llvm::cantFail(section.getName()) == ".relro_padding")
      continue;
    const llvm::StringRef name = llvm::cantFail(section.getName());
    program.sections.push_back({name.str(), section.getSize(), purpose(elf, name),
                                !(elf.getFlags() & llvm::ELF::SHF_WRITE)});
  }
  // Those that have a file of their own are mapped from it.
  if (const flatbuffers::String *file = program.manifest->build()->weights_file())
    program.sections.push_back({file->str(), weight_bytes, "weights", true});
  else
    findWeights(program.sections, weight_bytes);
  return program;
}

/// One conversation of `tokens` tokens on one thread.
runtime::Plan planFor(const Program &program, int32_t tokens) {
  return runtime::conversation_plan(program.sizes, tokens, /*threads=*/1);
}

json::Object planJson(const Program &program) {
  const manifest::Manifest &m = *program.manifest;
  json::Array steps, regions;
  if (m.steps())
    for (const auto *step : *m.steps()) {
      json::Array buffers;
      if (step->buffers())
        for (const auto *b : *step->buffers())
          buffers.push_back(json::Object{{"kernel", orEmpty(runtime::writer_of(m, *step, *b))},
                                         {"offset", int64_t(b->offset())},
                                         {"bytes", int64_t(b->bytes())},
                                         {"first_use", b->first_use()},
                                         {"last_use", b->last_use()}});
      json::Array launches; // by number of kernel; -1: a barrier
      if (step->launches())
        for (const auto *launch : *step->launches())
          launches.push_back(launch->kernel());
      steps.push_back(json::Object{{"name", orEmpty(step->name())},
                                   {"tokens", step->tokens()},
                                   {"launches", std::move(launches)},
                                   {"buffers", std::move(buffers)}});
    }
  const runtime::Plan plan = planFor(program, program.sizes.context_length);
  for (const runtime::PlanRow &row : plan.rows)
    regions.push_back(json::Object{{"name", row.name},
                                   {"reserved_bytes", int64_t(row.reserved)},
                                   {"planned_bytes", int64_t(row.planned)}});
  return json::Object{{"tokens", program.sizes.context_length},
                      {"reserved_bytes", int64_t(plan.reserved)},
                      {"planned_bytes", int64_t(plan.planned)},
                      {"regions", std::move(regions)},
                      {"steps", std::move(steps)}};
}

runtime::DevicePlan deviceMemory(const Program &program) {
  return runtime::device_plan(program.sizes, program.weight_bytes, /*sequences=*/1);
}

json::Value deviceMemoryJson(const Program &program) {
  if (!runtime::needs_device_memory(*program.manifest))
    return nullptr;
  const runtime::DevicePlan plan = deviceMemory(program);
  json::Array regions;
  for (const runtime::PlanRow &row : plan.rows)
    regions.push_back(json::Object{{"name", row.name}, {"bytes", int64_t(row.reserved)}});
  return json::Object{{"bytes", int64_t(plan.bytes)}, {"regions", std::move(regions)}};
}

json::Array variantsToJson(const manifest::Build &build) {
  json::Array variants;
  for (const auto *variant : *build.variants()) {
    json::Array features;
    if (variant->features())
      for (const auto *feature : *variant->features())
        features.push_back(orEmpty(feature));
    variants.push_back(json::Object{{"name", orEmpty(variant->name())},
                                    {"isa", orEmpty(variant->isa())},
                                    {"features", std::move(features)}});
  }
  return variants;
}

/// What --selftest replays.
json::Array selftestTokens(const manifest::Manifest &m) {
  json::Array tokens;
  if (m.selftest() && m.selftest()->tokens())
    for (int32_t token : *m.selftest()->tokens())
      tokens.push_back(token);
  return tokens;
}

/// How work on `tokens` tokens behind none grows with them: what a table of kernels shows.
json::Object costJson(const manifest::Kernel &kernel) {
  auto terms = [](const manifest::Terms *t) {
    return t ? json::Array{t->fixed(), t->per_token(), t->per_position(), t->per_key()}
             : json::Array();
  };
  return json::Object{{"macs", terms(kernel.macs())},
                      {"weight_bytes", terms(kernel.weight_bytes())},
                      {"cache_bytes", terms(kernel.cache_bytes())},
                      {"activation_bytes", terms(kernel.activation_bytes())}};
}

/// Kernels with their tile and code for each variant. A variant's symbols are the kernels' names
/// with a suffix of its own, in the order of variants; a stripped program has none.
json::Array kernelsJson(const Program &program, const llvm::object::ObjectFile &object) {
  const manifest::Manifest &m = *program.manifest;
  json::Array kernels;
  if (!m.kernels())
    return kernels;
  std::string features;
  for (const auto *variant : *m.build()->variants())
    if (variant->features())
      for (const auto *feature : *variant->features())
        features += (features.empty() ? "+" : ",+") + feature->str();
  const std::vector<FunctionCode> functions = functionsOf(object, kKernelsSection, features);
  for (const auto *kernel : *m.kernels()) {
    if (!kernel->name())
      continue;
    json::Array codes, tiles;
    for (const auto *variant : *m.build()->variants()) {
      const std::string name = kernel->name()->str() + variantSuffix(orEmpty(variant->name()),
                                                                     m.build()->variants()->size());
      const auto found =
          llvm::find_if(functions, [&](const FunctionCode &f) { return f.name == name; });
      if (found == functions.end())
        continue;
      json::Object mnemonics;
      for (const auto &[mnemonic, count] : found->mnemonics)
        mnemonics[mnemonic] = int64_t(count);
      codes.push_back(json::Object{{"variant", orEmpty(variant->name())},
                                   {"bytes", int64_t(found->bytes)},
                                   {"instructions", int64_t(found->instructions)},
                                   {"mnemonics", std::move(mnemonics)}});
    }
    if (kernel->tiles())
      for (const auto *tile : *kernel->tiles())
        tiles.push_back(json::Object{
            {"tokens", tile->tokens()}, {"streams", tile->streams()}, {"keys", tile->keys()}});
    json::Object row = costJson(*kernel);
    row["name"] = orEmpty(kernel->name());
    row["one_token"] = kernel->one_token();
    row["tiles"] = std::move(tiles);
    row["code"] = std::move(codes);
    kernels.push_back(std::move(row));
  }
  return kernels;
}

json::Object toJson(const Program &program, const llvm::object::ObjectFile &object,
                    const InspectOptions &options) {
  const manifest::Manifest &m = *program.manifest;
  json::Array sections, weights, caches;
  for (const Section &section : program.sections)
    sections.push_back(json::Object{{"name", section.name},
                                    {"bytes", int64_t(section.bytes)},
                                    {"holds", section.holds},
                                    {"file_backed", section.file_backed}});
  json::Object sizes;
  for (const auto &[name, bytes] : program.totals())
    sizes[name] = int64_t(bytes);
  if (m.weights())
    for (const auto *w : *m.weights())
      weights.push_back(json::Object{{"name", orEmpty(w->name())},
                                     {"source_encoding", orEmpty(w->source_encoding())},
                                     {"encoding", orEmpty(w->encoding())},
                                     {"rows", w->rows()},
                                     {"columns", w->columns()},
                                     {"offset", int64_t(w->offset())},
                                     {"bytes", int64_t(w->bytes())}});
  if (m.caches())
    for (const auto *c : *m.caches())
      caches.push_back(json::Object{{"name", orEmpty(c->name())},
                                    {"offset", int64_t(c->offset())},
                                    {"bytes", int64_t(c->bytes())}});
  return json::Object{{"file", options.file},
                      {"kind", "program"},
                      {"name", orEmpty(m.model()->name())},
                      {"architecture", orEmpty(m.model()->architecture())},
                      {"target", orEmpty(m.build()->target())},
                      {"variants", variantsToJson(*m.build())},
                      {"source_file", orEmpty(m.build()->source_file())},
                      {"source_hash", orEmpty(m.build()->source_hash())},
                      {"context_length", m.model()->context_length()},
                      {"sections", std::move(sections)},
                      {"bytes", std::move(sizes)},
                      {"code_bytes", int64_t(program.codeBytes())},
                      {"file_backed_bytes", int64_t(program.fileBacked(true))},
                      {"anonymous_bytes", int64_t(program.fileBacked(false))},
                      {"weights", std::move(weights)},
                      {"planned_memory", planJson(program)},
                      {"device_memory", deviceMemoryJson(program)},
                      {"selftest_tokens", selftestTokens(m)},
                      {"caches", std::move(caches)},
                      {"kernels", kernelsJson(program, object)}};
}

void line(llvm::StringRef name, unsigned width, std::initializer_list<uint64_t> numbers) {
  llvm::outs() << "  " << llvm::left_justify(name, width);
  for (uint64_t number : numbers)
    llvm::outs() << llvm::right_justify(grouped(number), 14);
}

void printSections(const Program &program) {
  llvm::outs() << "\nSections\n";
  for (const Section &section : program.sections) {
    line(section.name, 24, {section.bytes});
    llvm::outs() << "  " << llvm::left_justify(section.holds, 15)
                 << (section.file_backed ? "file-backed" : "anonymous where written") << "\n";
  }
  llvm::outs() << "\nBytes by purpose\n";
  for (const auto &[name, bytes] : program.totals()) {
    line(name, 24, {bytes});
    llvm::outs() << "\n";
  }
  line("without weights and tokenizer", 30, {program.codeBytes()});
  llvm::outs() << "\n";
  line("file-backed", 30, {program.fileBacked(true)});
  llvm::outs() << "\n";
  line("anonymous where written", 30, {program.fileBacked(false)});
  llvm::outs() << "\n";
}

/// Layers repeat: buffers of one kernel in one place are one line.
void printStep(const manifest::Manifest &m, const manifest::Step &step) {
  llvm::outs() << "\nArena in step " << orEmpty(step.name()) << " (" << step.tokens() << " token"
               << (step.tokens() == 1 ? "" : "s") << ", "
               << (step.launches() ? step.launches()->size() : 0)
               << " launches and barriers): offset, bytes, launches that use it\n";
  struct Row {
    llvm::StringRef kernel;
    uint64_t offset, bytes;
    uint32_t first, last, count;
  };
  std::vector<Row> rows;
  uint64_t end = 0, live = 0;
  std::map<uint32_t, int64_t> change; // of the bytes in use, by launch
  if (step.buffers())
    for (const auto *b : *step.buffers()) {
      end = std::max<uint64_t>(end, b->offset() + b->bytes());
      change[b->first_use()] += int64_t(b->bytes());
      change[b->last_use() + 1] -= int64_t(b->bytes());
      const llvm::StringRef kernel = orEmpty(runtime::writer_of(m, step, *b));
      auto same = llvm::find_if(rows, [&](const Row &row) {
        return row.kernel == kernel && row.offset == b->offset() && row.bytes == b->bytes();
      });
      if (same == rows.end())
        rows.push_back({kernel, b->offset(), b->bytes(), b->first_use(), b->last_use(), 1});
      else
        ++same->count;
    }
  int64_t now = 0;
  for (const auto &[launch, bytes] : change)
    live = std::max<uint64_t>(live, uint64_t(now += bytes));
  for (const Row &row : rows) {
    line(row.kernel, 40, {row.offset, row.bytes});
    llvm::outs() << "  " << row.first << ".." << row.last;
    if (row.count > 1)
      llvm::outs() << " and " << row.count - 1 << " more";
    llvm::outs() << "\n";
  }
  llvm::outs() << "  in all " << mebibytes(end) << ", at most " << mebibytes(live)
               << " in use at once\n";
}

void printPlan(const Program &program) {
  const int32_t all_tokens = program.sizes.context_length, some_tokens = (all_tokens + 3) / 4;
  const runtime::Plan some = planFor(program, some_tokens), all = planFor(program, all_tokens);
  llvm::outs() << "\nPlanned memory of one conversation on one thread: what is reserved, and what "
                  "it touches in whole pages\n  "
               << llvm::left_justify("", 24) << llvm::right_justify("reserved", 14)
               << llvm::right_justify(grouped(some_tokens) + " tokens", 14)
               << llvm::right_justify(grouped(all_tokens) + " tokens", 14) << "\n";
  for (int32_t i = 0; i <= runtime::region_count; ++i) {
    line(all.rows[i].name, 24, {all.rows[i].reserved, some.rows[i].planned, all.rows[i].planned});
    llvm::outs() << "\n";
  }
  line("all", 24, {all.reserved, some.planned, all.planned});
  llvm::outs() << "\n";
  if (!runtime::needs_device_memory(*program.manifest))
    return;
  const runtime::DevicePlan device = deviceMemory(program);
  llvm::outs() << "\nMemory of the device that a session of one sequence takes when it starts\n";
  for (const runtime::PlanRow &row : device.rows) {
    line(row.name, 24, {row.reserved});
    llvm::outs() << "\n";
  }
  line("all", 24, {device.bytes});
  llvm::outs() << "\n";
}

void printProgram(const Program &program, const InspectOptions &options) {
  const manifest::Manifest &m = *program.manifest;
  llvm::outs() << options.file << ": program, " << orEmpty(m.model()->name()) << " from "
               << orEmpty(m.build()->source_file()) << "\n"
               << "compiled by ingot " << orEmpty(m.build()->ingot_version()) << " for "
               << orEmpty(m.build()->target()) << ", context " << m.model()->context_length()
               << ", " << orEmpty(m.build()->activations()) << " activations, "
               << orEmpty(m.build()->kv_cache()) << " KV cache\nkernels for ";
  llvm::interleaveComma(*m.build()->variants(), llvm::outs(), [](const auto *variant) {
    llvm::outs() << orEmpty(variant->name()) << " (" << orEmpty(variant->isa()) << ")";
  });
  llvm::outs() << "\n";
  printSections(program);
  llvm::outs() << "\nWeights\n";
  if (m.weights())
    for (const auto *w : *m.weights())
      llvm::outs() << "  " << llvm::left_justify(orEmpty(w->name()), 32)
                   << llvm::right_justify(
                          std::to_string(w->rows()) + "x" + std::to_string(w->columns()), 14)
                   << llvm::right_justify(grouped(w->bytes()), 14) << "  "
                   << orEmpty(w->source_encoding()) << " -> " << orEmpty(w->encoding()) << "\n";
  printPlan(program);
  if (m.steps())
    for (const auto *step : *m.steps())
      printStep(m, *step);
  llvm::outs() << "\nKV caches of a sequence\n";
  uint64_t end = 0;
  if (m.caches())
    for (const auto *c : *m.caches()) {
      end = std::max<uint64_t>(end, c->offset() + c->bytes());
      line(orEmpty(c->name()), 40, {c->offset(), c->bytes()});
      llvm::outs() << "\n";
    }
  llvm::outs() << "  in all " << mebibytes(end) << "\n";
}

} // namespace

llvm::Error inspectProgram(const llvm::object::ObjectFile &object, const InspectOptions &options) {
  auto program = readProgram(object, options.file);
  if (!program)
    return program.takeError();
  if (!options.html.empty())
    return writeHtml(toJson(*program, object, options), options.html);
  if (options.json)
    llvm::outs() << llvm::formatv("{0:2}", json::Value(toJson(*program, object, options))) << "\n";
  else
    printProgram(*program, options);
  return llvm::Error::success();
}

} // namespace ingot
