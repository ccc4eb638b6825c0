// The link recipe of x86-64 Linux. Packed weights become a section `.lrodata` of "large" data: the
// linker places it away from the code, so that a program of many gigabytes still reaches its code
// and tables with 32-bit displacements; the one pointer to the weights is 64 bits wide.
#include "targets/x86/LinkElf.h"

#include "support/Error.h"

#include "lld/Common/Driver.h"
#include "llvm/BinaryFormat/ELF.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/raw_ostream.h"

#include <mutex>

LLD_HAS_DRIVER(elf)

namespace ingot::x86 {
namespace {

using namespace llvm::ELF;

template <typename T> void append(std::string &out, const T &value) {
  out.append(reinterpret_cast<const char *>(&value), sizeof(T));
}

/// Turns the weights' file into a relocatable object in place:
/// [ELF header, padding][weights][symbols, names, section headers].
llvm::Error wrapWeights(const std::string &path, uint64_t bytes) {
  const std::string names("\0.lrodata\0.symtab\0.strtab\0.note.GNU-stack\0ingot_weights\0", 57);
  auto nameOf = [&](llvm::StringRef name) {
    return static_cast<uint32_t>(llvm::StringRef(names).find((name + llvm::Twine('\0')).str()));
  };
  std::string tail((8 - (weights_reserve + bytes) % 8) % 8, '\0');
  const uint64_t tail_start = weights_reserve + bytes;

  const uint64_t symbols = tail_start + tail.size();
  append(tail, Elf64_Sym{});
  Elf64_Sym symbol{};
  symbol.st_name = nameOf("ingot_weights");
  symbol.setBindingAndType(STB_GLOBAL, STT_OBJECT);
  symbol.st_shndx = 1;
  symbol.st_size = bytes;
  append(tail, symbol);

  const uint64_t strings = tail_start + tail.size();
  tail += names;
  tail.append((8 - tail.size() % 8) % 8, '\0');
  const uint64_t sections = tail_start + tail.size();

  auto section = [&](llvm::StringRef name, uint32_t type, uint64_t flags, uint64_t offset,
                     uint64_t size, uint32_t link, uint32_t info, uint64_t align, uint64_t entry) {
    Elf64_Shdr header{};
    header.sh_name = name.empty() ? 0 : nameOf(name);
    header.sh_type = type;
    header.sh_flags = flags;
    header.sh_offset = offset;
    header.sh_size = size;
    header.sh_link = link;
    header.sh_info = info;
    header.sh_addralign = align;
    header.sh_entsize = entry;
    append(tail, header);
  };
  section("", SHT_NULL, 0, 0, 0, 0, 0, 0, 0);
  section(".lrodata", SHT_PROGBITS, SHF_ALLOC | SHF_X86_64_LARGE, weights_reserve, bytes, 0, 0,
          4096, 0);
  section(".symtab", SHT_SYMTAB, 0, symbols, 2 * sizeof(Elf64_Sym), 3, 1, 8, sizeof(Elf64_Sym));
  section(".strtab", SHT_STRTAB, 0, strings, names.size(), 0, 0, 1, 0);
  section(".note.GNU-stack", SHT_PROGBITS, 0, strings, 0, 0, 0, 1, 0);

  Elf64_Ehdr header{};
  memcpy(header.e_ident, ElfMagic, 4);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_ident[EI_VERSION] = EV_CURRENT;
  header.e_type = ET_REL;
  header.e_machine = EM_X86_64;
  header.e_version = EV_CURRENT;
  header.e_shoff = sections;
  header.e_ehsize = sizeof(Elf64_Ehdr);
  header.e_shentsize = sizeof(Elf64_Shdr);
  header.e_shnum = 5;
  header.e_shstrndx = 3;

  std::error_code error;
  llvm::raw_fd_ostream stream(path, error, llvm::sys::fs::CD_OpenExisting, llvm::sys::fs::FA_Write,
                              llvm::sys::fs::OF_None);
  if (error)
    return inputError(path, "", "cannot write: " + error.message());
  stream.write(reinterpret_cast<const char *>(&header), sizeof header);
  stream.seek(tail_start);
  stream << tail;
  stream.close();
  error = stream.error();
  stream.clear_error();
  return error ? inputError(path, "", "cannot write: " + error.message()) : llvm::Error::success();
}

} // namespace

llvm::Error linkElf(const LinkInputs &inputs) {
  if (llvm::Error error = wrapWeights(inputs.weights, inputs.weight_bytes))
    return error;
  std::vector<std::string> arguments{"ld.lld",          "-m", "elf_x86_64",
                                     "--build-id=none", "-o", inputs.output};
  auto add = [&](std::initializer_list<const char *> more) {
    arguments.insert(arguments.end(), more.begin(), more.end());
  };
  auto runtime = [&](const char *file) { arguments.push_back(inputs.runtime_folder + "/" + file); };
  if (inputs.relocatable) {
    add({"-r"});
  } else {
    add({"-static", "--gc-sections", "--strip-all", "-z", "noexecstack", "-z", "relro", "-z", "now",
         "-z", "lrodata-after-bss"});
    runtime("crt1.o");
    runtime("crti.o");
  }
  arguments.insert(arguments.end(), inputs.objects.begin(), inputs.objects.end());
  arguments.push_back(inputs.weights);
  if (!inputs.relocatable) {
    runtime("libingot_runtime.a");
    add({"--start-group"});
    for (const char *library : {"libc.a", "libgcc.a"})
      runtime(library);
    add({"--end-group"});
    runtime("crtn.o");
  }
  std::vector<const char *> raw;
  for (const std::string &argument : arguments)
    raw.push_back(argument.c_str());
  static std::mutex one_link; // the linker keeps global state
  std::lock_guard lock(one_link);
  std::string output, errors;
  llvm::raw_string_ostream output_stream(output), error_stream(errors);
  const lld::Result result =
      lld::lldMain(raw, output_stream, error_stream, {{lld::Gnu, &lld::elf::link}});
  if (result.retCode)
    return inputError(inputs.output, "link", llvm::StringRef(errors + output).trim());
  return llvm::Error::success();
}

} // namespace ingot::x86
