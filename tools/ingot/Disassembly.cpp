#include "tools/ingot/Disassembly.h"

#include "llvm/MC/MCAsmInfo.h"
#include "llvm/MC/MCContext.h"
#include "llvm/MC/MCDisassembler/MCDisassembler.h"
#include "llvm/MC/MCInst.h"
#include "llvm/MC/MCInstPrinter.h"
#include "llvm/MC/MCInstrInfo.h"
#include "llvm/MC/MCRegisterInfo.h"
#include "llvm/MC/MCSubtargetInfo.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Support/TargetSelect.h"

namespace ingot {
namespace {

class Disassembler {
public:
  Disassembler(const llvm::Triple &triple, llvm::StringRef features) {
    llvm::InitializeAllTargetInfos();
    llvm::InitializeAllTargetMCs();
    llvm::InitializeAllDisassemblers();
    std::string error;
    const llvm::Target *target = llvm::TargetRegistry::lookupTarget(triple, error);
    if (!target)
      return;
    registers.reset(target->createMCRegInfo(triple));
    assembly.reset(target->createMCAsmInfo(*registers, triple, options));
    subtarget.reset(target->createMCSubtargetInfo(triple, "", features));
    instructions.reset(target->createMCInstrInfo());
    context =
        std::make_unique<llvm::MCContext>(triple, assembly.get(), registers.get(), subtarget.get());
    decoder.reset(target->createMCDisassembler(*subtarget, *context));
    printer.reset(target->createMCInstPrinter(triple, assembly->getAssemblerDialect(), *assembly,
                                              *instructions, *registers));
  }

  explicit operator bool() const { return decoder && printer; }

  void count(llvm::ArrayRef<uint8_t> code, FunctionCode &function) const {
    for (uint64_t at = 0, size = 0; at < code.size(); at += std::max<uint64_t>(size, 1)) {
      llvm::MCInst instruction;
      if (decoder->getInstruction(instruction, size, code.drop_front(at), at, llvm::nulls()) !=
          llvm::MCDisassembler::Success)
        continue;
      ++function.instructions;
      if (const char *mnemonic = printer->getMnemonic(instruction).first)
        ++function.mnemonics[llvm::StringRef(mnemonic).trim().str()];
    }
  }

private:
  llvm::MCTargetOptions options;
  std::unique_ptr<llvm::MCRegisterInfo> registers;
  std::unique_ptr<llvm::MCAsmInfo> assembly;
  std::unique_ptr<llvm::MCSubtargetInfo> subtarget;
  std::unique_ptr<llvm::MCInstrInfo> instructions;
  std::unique_ptr<llvm::MCContext> context;
  std::unique_ptr<llvm::MCDisassembler> decoder;
  std::unique_ptr<llvm::MCInstPrinter> printer;
};

} // namespace

std::vector<FunctionCode> functionsOf(const llvm::object::ObjectFile &object,
                                      llvm::StringRef section, llvm::StringRef features) {
  std::vector<FunctionCode> functions;
  const Disassembler disassembler(object.makeTriple(), features);
  if (!disassembler)
    return functions;
  for (const llvm::object::SymbolRef &symbol : object.symbols()) {
    // A damaged table of symbols only takes away names.
    auto type = symbol.getType();
    auto name = symbol.getName();
    auto address = symbol.getAddress();
    auto where = symbol.getSection();
    if (!type || !name || !address || !where) {
      llvm::consumeError(type.takeError());
      llvm::consumeError(name.takeError());
      llvm::consumeError(address.takeError());
      llvm::consumeError(where.takeError());
      continue;
    }
    if (*type != llvm::object::SymbolRef::ST_Function || *where == object.section_end())
      continue;
    auto section_name = (*where)->getName();
    auto contents = (*where)->getContents();
    if (!section_name || !contents) {
      llvm::consumeError(section_name.takeError());
      llvm::consumeError(contents.takeError());
      continue;
    }
    const uint64_t size = llvm::object::ELFSymbolRef(symbol).getSize();
    const uint64_t offset = *address - (*where)->getAddress();
    if (*section_name != section || offset > contents->size() || size > contents->size() - offset)
      continue;
    FunctionCode &function = functions.emplace_back();
    function.name = name->str();
    function.bytes = size;
    disassembler.count(llvm::arrayRefFromStringRef(contents->substr(offset, size)), function);
  }
  return functions;
}

} // namespace ingot
