// The link recipe of Linux. Packed weights are a section `.lrodata` of their own: the linker places
// it behind everything else, so that a program of many gigabytes still reaches its code and tables
// with the short displacements of its architecture; the one pointer to the weights is 64 bits wide.
//
// The linker never sees the weights: it would map them and its output, gigabytes each, and copy one
// to the other. It links a section of their size without contents, and the file that the packer
// wrote becomes the program by what is put around the weights:
//
//   [headers][free][weights][the linked file as it is, but its offsets moved by where it lies]
//
// The section holds the file from its first byte, so that offsets in the file and addresses agree
// modulo a huge page: what the page cache keeps in huge pages can be mapped in huge pages.
//
// The program headers are also mapped at the lowest address: kernels and emulators differ in how
// they tell a program where they are, and agree in that case only.
#include "targets/cpu/LinkElf.h"

#include "support/Error.h"
#include "support/Files.h"

#include "lld/Common/Driver.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ObjCopy/ConfigManager.h"
#include "llvm/ObjCopy/ObjCopy.h"
#include "llvm/Object/ObjectFile.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MathExtras.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/raw_ostream.h"

#include <mutex>

LLD_HAS_DRIVER(elf)

namespace ingot::cpu {
namespace {

using namespace llvm::ELF;

constexpr const char *weights_section = ".lrodata";
constexpr const char *program_symbol = "ingot_main_program";
constexpr const char *place_weights =
    "SECTIONS { .lrodata : { *(.lrodata) } } INSERT AFTER .bss;\n";
constexpr const char *api_functions[] = {
#include "targets/cpu/api_functions.inc"
};

/// The two classes of ELF files: same fields, some of them narrower and in other places.
struct Elf32 {
  using Ehdr = Elf32_Ehdr;
  using Phdr = Elf32_Phdr;
  using Shdr = Elf32_Shdr;
  using Sym = Elf32_Sym;
  static constexpr uint8_t file_class = ELFCLASS32;
};
struct Elf64 {
  using Ehdr = Elf64_Ehdr;
  using Phdr = Elf64_Phdr;
  using Shdr = Elf64_Shdr;
  using Sym = Elf64_Sym;
  static constexpr uint8_t file_class = ELFCLASS64;
};

template <typename T> void append(std::string &out, const T &value) {
  out.append(reinterpret_cast<const char *>(&value), sizeof(T));
}

llvm::Error cannotWrite(const std::string &path, std::error_code error) {
  return inputError(path, "", "cannot write: " + error.message());
}

/// An object that defines `ingot_weights` as so many bytes without contents, behind the reserve:
/// [ELF header][symbols, names, section headers].
template <typename Elf> std::string declareWeights(const ElfRecipe &recipe, uint64_t bytes) {
  const std::string names("\0.lrodata\0.symtab\0.strtab\0.note.GNU-stack\0ingot_weights\0", 57);
  auto nameOf = [&](llvm::StringRef name) {
    return static_cast<uint32_t>(llvm::StringRef(names).find((name + llvm::Twine('\0')).str()));
  };
  std::string out(sizeof(typename Elf::Ehdr), '\0');
  const uint64_t symbols = out.size();
  append(out, typename Elf::Sym{});
  typename Elf::Sym symbol{};
  symbol.st_name = nameOf("ingot_weights");
  symbol.setBindingAndType(STB_GLOBAL, STT_OBJECT);
  symbol.st_shndx = 1;
  symbol.st_value = recipe.page;
  symbol.st_size = bytes;
  append(out, symbol);

  const uint64_t strings = out.size();
  out += names;
  out.append((8 - out.size() % 8) % 8, '\0');
  const uint64_t sections = out.size();

  auto section = [&](llvm::StringRef name, uint32_t type, uint64_t flags, uint64_t offset,
                     uint64_t size, uint32_t link, uint32_t info, uint64_t align, uint64_t entry) {
    typename Elf::Shdr header{};
    header.sh_name = name.empty() ? 0 : nameOf(name);
    header.sh_type = type;
    header.sh_flags = flags;
    header.sh_offset = offset;
    header.sh_size = size;
    header.sh_link = link;
    header.sh_info = info;
    header.sh_addralign = align;
    header.sh_entsize = entry;
    append(out, header);
  };
  section("", SHT_NULL, 0, 0, 0, 0, 0, 0, 0);
  section(weights_section, SHT_NOBITS, SHF_ALLOC | recipe.weight_flags, symbols,
          recipe.page + bytes, 0, 0, huge_page, 0);
  section(".symtab", SHT_SYMTAB, 0, symbols, 2 * sizeof(typename Elf::Sym), 3, 1, 8,
          sizeof(typename Elf::Sym));
  section(".strtab", SHT_STRTAB, 0, strings, names.size(), 0, 0, 1, 0);
  section(".note.GNU-stack", SHT_PROGBITS, 0, strings, 0, 0, 0, 1, 0);

  typename Elf::Ehdr header{};
  memcpy(header.e_ident, ElfMagic, 4);
  header.e_ident[EI_CLASS] = Elf::file_class;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_ident[EI_VERSION] = EV_CURRENT;
  header.e_type = ET_REL;
  header.e_machine = recipe.machine;
  header.e_version = EV_CURRENT;
  header.e_flags = recipe.flags;
  header.e_shoff = sections;
  header.e_ehsize = sizeof(typename Elf::Ehdr);
  header.e_shentsize = sizeof(typename Elf::Shdr);
  header.e_shnum = 5;
  header.e_shstrndx = 3;
  memcpy(out.data(), &header, sizeof header);
  return out;
}

/// ELF header and program headers, which follow it.
template <typename Elf> uint64_t headersBytes(const typename Elf::Ehdr &header) {
  return sizeof(header) + header.e_phnum * sizeof(typename Elf::Phdr);
}

/// Moves all offsets in a linked file to `start`, and the weights' section, which ends at `end`, to
/// the front of the file. Null or what is wrong.
template <typename Elf>
const char *moveOffsets(llvm::MutableArrayRef<char> linked, uint64_t page, uint64_t start,
                        uint64_t end) {
  auto &header = *reinterpret_cast<typename Elf::Ehdr *>(linked.data());
  llvm::MutableArrayRef sections(
      reinterpret_cast<typename Elf::Shdr *>(linked.data() + header.e_shoff), header.e_shnum);
  llvm::MutableArrayRef segments(
      reinterpret_cast<typename Elf::Phdr *>(linked.data() + header.e_phoff), header.e_phnum);
  const char *names = linked.data() + sections[header.e_shstrndx].sh_offset;
  typename Elf::Shdr *weights = nullptr;
  for (typename Elf::Shdr &section : sections) {
    if (llvm::StringRef(names + section.sh_name) == weights_section)
      weights = &section;
    else if (section.sh_type != SHT_NULL)
      section.sh_offset += start;
  }
  if (!weights || weights->sh_type != SHT_NOBITS || weights->sh_size != end)
    return "the linker changed the weights' section";
  weights->sh_type = SHT_PROGBITS;
  weights->sh_offset = 0;
  bool mapped = header.e_type == ET_REL;
  for (typename Elf::Phdr &segment : segments) {
    if (segment.p_type == PT_LOAD && segment.p_vaddr == weights->sh_addr) {
      if (segment.p_filesz || segment.p_memsz != end)
        return "the linker put something else beside the weights";
      segment.p_offset = 0;
      segment.p_filesz = end;
      mapped = true;
    } else if (segment.p_type == PT_PHDR) {
      segment.p_type = PT_LOAD;
      segment.p_vaddr = segment.p_paddr = llvm::alignDown(segment.p_vaddr, page) - page;
      segment.p_offset = 0;
      segment.p_filesz = segment.p_memsz = headersBytes<Elf>(header);
      segment.p_align = page;
    } else if (segment.p_filesz) {
      segment.p_offset += start;
    }
  }
  header.e_shoff += start;
  if (header.e_phnum && header.e_phoff != sizeof(typename Elf::Ehdr))
    return "the linker did not place the program headers behind the ELF header";
  return mapped ? nullptr : "the linker did not place the weights";
}

/// Puts a linked file around the weights, which then have its name and permissions.
template <typename Elf>
llvm::Error wrapWeights(uint64_t page, const std::string &weights, uint64_t bytes,
                        const std::string &linked) {
  namespace fs = llvm::sys::fs;
  auto buffer = llvm::WritableMemoryBuffer::getFile(linked);
  if (!buffer)
    return inputError(linked, "link", buffer.getError().message());
  const uint64_t end = page + bytes, start = llvm::alignTo(end, page);
  if (const char *problem = moveOffsets<Elf>((*buffer)->getBuffer(), page, start, end))
    return inputError(linked, "link", problem);

  std::error_code error;
  llvm::raw_fd_ostream stream(weights, error, fs::CD_OpenExisting, fs::FA_Write, fs::OF_None);
  if (error)
    return cannotWrite(weights, error);
  stream.write((*buffer)->getBufferStart(),
               headersBytes<Elf>(
                   *reinterpret_cast<const typename Elf::Ehdr *>((*buffer)->getBufferStart())));
  stream.seek(end);
  stream.write_zeros(start - end);
  stream.write((*buffer)->getBufferStart(), (*buffer)->getBufferSize());
  stream.close();
  error = stream.error();
  stream.clear_error();
  if (error)
    return cannotWrite(weights, error);
  auto permissions = fs::getPermissions(linked);
  error = permissions ? fs::setPermissions(weights, *permissions) : permissions.getError();
  // Some file systems write a file out before it replaces another; here that would only take time.
  if (!error)
    error = fs::remove(linked);
  if (!error)
    error = fs::rename(weights, linked);
  return error ? cannotWrite(linked, error) : llvm::Error::success();
}

llvm::Error runLinker(const std::vector<std::string> &arguments, const std::string &output) {
  std::vector<const char *> raw;
  for (const std::string &argument : arguments)
    raw.push_back(argument.c_str());
  static std::mutex one_link; // the linker keeps global state
  std::lock_guard lock(one_link);
  std::string said, errors;
  llvm::raw_string_ostream output_stream(said), error_stream(errors);
  const lld::Result result =
      lld::lldMain(raw, output_stream, error_stream, {{lld::Gnu, &lld::elf::link}});
  if (result.retCode)
    return inputError(output, "link", llvm::StringRef(errors + said).trim());
  return llvm::Error::success();
}

/// Leaves the program, under the name that was asked for, as all that an object shows: objects of
/// several models have kernels of equal names and different code, and are linked into one app.
llvm::Error keepOneSymbol(const std::string &linked, const std::string &symbol) {
  auto read = llvm::MemoryBuffer::getFile(linked, /*IsText=*/false, false, /*IsVolatile=*/true);
  if (!read)
    return inputError(linked, "link", read.getError().message());
  auto object = llvm::object::ObjectFile::createObjectFile(**read);
  if (!object)
    return object.takeError();
  llvm::objcopy::ConfigManager config;
  config.Common.SymbolsToRename[program_symbol] = symbol;
  auto name = llvm::objcopy::NameOrPattern::create(
      program_symbol, llvm::objcopy::MatchStyle::Literal, [](llvm::Error error) { return error; });
  if (!name)
    return name.takeError();
  if (llvm::Error error = config.Common.SymbolsToKeepGlobal.addMatcher(std::move(*name)))
    return error;
  std::string kept;
  llvm::raw_string_ostream stream(kept);
  if (llvm::Error error = llvm::objcopy::executeObjcopyOnBinary(config, **object, stream))
    return error;
  return writeFile(linked, kept);
}

/// The linker's command line of one output, in the order of its parts.
class Arguments {
public:
  Arguments(const ElfRecipe &recipe, const LinkInputs &inputs)
      : recipe(recipe), inputs(inputs),
        all{"ld.lld", "-m", recipe.emulation, "--build-id=none", "-o", inputs.output} {}

  void add(std::initializer_list<const char *> more) {
    all.insert(all.end(), more.begin(), more.end());
  }

  /// What stays of images, which systems load, and where its parts lie.
  llvm::Error image() {
    // Symbols stay, for profilers and debuggers: 50 KB of the file that nothing loads.
    add({"--gc-sections", "--strip-debug", "-z", "noexecstack", "-z", "relro", "-z", "now"});
    // Below the image there is room for the program headers, above what systems forbid to map.
    add({recipe.wide ? "--image-base=0x200000" : "--image-base=0x100000"});
    if (recipe.option)
      add({recipe.option});
    else if (!inputs.weights.empty())
      return script("ld", place_weights);
    return llvm::Error::success();
  }

  /// A library shows the program under its name and the functions of ingot.h.
  llvm::Error exports() {
    std::string shown = inputs.symbol + ";\n";
    if (inputs.symbol != program_symbol)
      all.push_back("--defsym=" + inputs.symbol + "=" + program_symbol);
    for (const char *function : api_functions) {
      all.push_back(std::string("--undefined=") + function);
      shown += std::string(function) + ";\n";
    }
    all.push_back("-soname=" + inputs.name);
    all.emplace_back("--version-script");
    return script("exports", "{ global:\n" + shown + "local: *; };\n");
  }

  void objects() {
    all.insert(all.end(), inputs.objects.begin(), inputs.objects.end());
    if (!inputs.weights.empty())
      all.push_back(inputs.scratch);
  }

  /// What programs start with is their C library's.
  void start(const char *file) {
    runtime(recipe.loading ? recipe.loading->folder + std::string("/") + file : file);
  }

  void runtimes() {
    if (recipe.loading)
      runtime(recipe.loading->device);
    runtime("libingot_runtime.a");
  }

  void programLibraries() {
    if (recipe.loading)
      start("libc.so.6");
    if (!recipe.c_library)
      return;
    // Behind the system's library, ours gives what that does not have: exp and log, so that sampled
    // tokens do not depend on the system.
    add({"--start-group"});
    for (const char *library : {"libc.a", "libgcc.a"})
      runtime(library);
    add({"--end-group"});
  }

  /// A process has one C library, and it is the system's, which is not here: nothing of it but its
  /// name is needed. Arithmetic is linked in, so that results have the same bits as a program's,
  /// unless the system's is named, too.
  llvm::Error systemLibraries() {
    const llvm::StringRef names = recipe.system_libraries;
    if (!names.contains("libm."))
      runtime("libm.a");
    runtime("libgcc.a");
    if (recipe.system_names)
      runtime(recipe.system_names);
    for (llvm::StringRef library : llvm::split(names, ' ')) {
      const std::string stub = inputs.scratch + "." + library.str(), empty = stub + ".ld";
      if (llvm::Error error = writeFile(empty, ""))
        return error;
      if (llvm::Error error = runLinker({"ld.lld", "-m", recipe.emulation, "-shared", "-soname",
                                         library.str(), "-o", stub, empty},
                                        inputs.output))
        return error;
      all.push_back(stub);
    }
    return llvm::Error::success();
  }

  llvm::Error run() const { return runLinker(all, inputs.output); }

private:
  std::string folder() const { return inputs.runtime_folder + "/" + recipe.folder + "/"; }
  void runtime(const std::string &file) { all.push_back(folder() + file); }
  llvm::Error script(const char *suffix, llvm::StringRef text) {
    all.push_back(inputs.scratch + "." + suffix);
    return writeFile(all.back(), text);
  }

  const ElfRecipe &recipe;
  const LinkInputs &inputs;
  std::vector<std::string> all;
};

template <typename Elf> llvm::Error link(const ElfRecipe &recipe, const LinkInputs &inputs) {
  const bool split = inputs.weights.empty();
  if (!split)
    if (llvm::Error error =
            writeFile(inputs.scratch, declareWeights<Elf>(recipe, inputs.weight_bytes)))
      return error;
  Arguments arguments(recipe, inputs);
  switch (inputs.form) {
  case LinkForm::object:
    arguments.add({"-r"});
    arguments.objects();
    break;
  case LinkForm::shared:
    assert(recipe.system_libraries && "Target::linksShared");
    arguments.add({"-shared"});
    if (llvm::Error error = arguments.image())
      return error;
    if (llvm::Error error = arguments.exports())
      return error;
    arguments.objects();
    arguments.runtimes();
    if (llvm::Error error = arguments.systemLibraries())
      return error;
    break;
  case LinkForm::program:
    if (recipe.loading)
      arguments.add({"--dynamic-linker", recipe.loading->loader});
    else
      arguments.add({"-static"});
    if (llvm::Error error = arguments.image())
      return error;
    if (recipe.c_library)
      for (const char *file : {"crt1.o", "crti.o"})
        arguments.start(file);
    arguments.objects();
    arguments.runtimes();
    arguments.programLibraries();
    if (recipe.c_library)
      arguments.start("crtn.o");
    break;
  }
  if (llvm::Error error = arguments.run())
    return error;
  if (inputs.form == LinkForm::object)
    if (llvm::Error error = keepOneSymbol(inputs.output, inputs.symbol))
      return error;
  if (split)
    return llvm::Error::success();
  return wrapWeights<Elf>(recipe.page, inputs.weights, inputs.weight_bytes, inputs.output);
}

} // namespace

llvm::Error linkElf(const ElfRecipe &recipe, const LinkInputs &inputs) {
  return recipe.wide ? link<Elf64>(recipe, inputs) : link<Elf32>(recipe, inputs);
}

std::vector<std::string> runtimeFiles(const ElfRecipe &recipe) {
  std::vector<std::string> files;
  auto add = [&](std::initializer_list<llvm::StringRef> names, llvm::StringRef folder = "") {
    for (llvm::StringRef name : names)
      files.push_back((llvm::Twine(recipe.folder) + "/" + folder + name).str());
  };
  add({"libingot_runtime.a"});
  if (recipe.loading) {
    add({"crt1.o", "crti.o", "crtn.o", "libc.so.6"}, recipe.loading->folder + std::string("/"));
    add({recipe.loading->device});
  } else if (recipe.c_library) {
    add({"crt1.o", "crti.o", "crtn.o"});
  }
  if (recipe.c_library)
    add({"libc.a", "libgcc.a"});
  const llvm::StringRef system = recipe.system_libraries;
  if (!system.empty() && !system.contains("libm."))
    add({"libm.a"});
  if (recipe.system_names)
    add({recipe.system_names});
  return files;
}

llvm::Error linkShared(const ElfRecipe &recipe, const std::vector<std::string> &objects,
                       const std::string &output) {
  std::vector<std::string> arguments{
      "ld.lld", "-m",  recipe.emulation, "-shared", "--build-id=none", "--strip-debug",
      "-o",     output};
  arguments.insert(arguments.end(), objects.begin(), objects.end());
  return runLinker(arguments, output);
}

} // namespace ingot::cpu
