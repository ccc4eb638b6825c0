// What the kernel cache is keyed by.
#include "codegen/halide/Kernel.h"
#include "codegen/halide/kernel_sources.h"
#include "targets/Target.h"

#include "Halide.h"

#include "llvm/Support/raw_ostream.h"

using namespace ingot;

std::string ingot::kernelKey(const KernelSpec &spec, const Target &target) {
  std::string text;
  llvm::raw_string_ostream os(text);
  os << "halide " << HALIDE_VERSION_MAJOR << '.' << HALIDE_VERSION_MINOR << '.'
     << HALIDE_VERSION_PATCH << " sources " INGOT_KERNEL_SOURCES "\n"
     << kernelText(spec, target);
  return text;
}

std::string ingot::kernelText(const KernelSpec &spec, const Target &target) {
  std::string text;
  llvm::raw_string_ostream os(text);
  os << "target " << target.halideTarget() << " isa " << target.machine().isa << " cpu "
     << target.machine().cpu << '\n';
  for (const std::string &feature : target.machine().features)
    os << feature << ' ';
  os << "\nmax_tokens " << spec.max_tokens << " context " << spec.context << " kv " << int(spec.kv)
     << " tile " << spec.tile.token_tile << ' ' << spec.tile.streams << ' ' << spec.tile.key_tile
     << '\n';
  for (const KernelValue &value : spec.values)
    os << "value " << int(value.kind) << ' ' << value.width << ' ' << value.height << ' '
       << value.encoding.str() << " layout " << value.layout.rows << ' ' << value.layout.k_inner
       << ' ' << value.layout.code_bits << ' ' << int(value.layout.scale_type) << '\n';
  for (const KernelOp &op : spec.ops) {
    os << "op " << int(op.kind);
    for (int32_t operand : op.operands)
      os << " %" << operand;
    os << " -> %" << op.result << ' ';
    os.write_hex(llvm::bit_cast<uint64_t>(op.eps));
    os << ' ';
    os.write_hex(llvm::bit_cast<uint64_t>(op.rope_theta));
    os << ' ';
    os.write_hex(llvm::bit_cast<uint64_t>(op.scale));
    os << ' ' << op.heads << ' ' << op.kv_heads << ' ' << op.head_dim << ' ' << op.offset << ' '
       << op.act_group << ' ' << op.interleaved << '\n';
  }
  os << "inputs";
  for (int32_t value : spec.inputs)
    os << ' ' << value;
  os << " outputs";
  for (int32_t value : spec.outputs)
    os << ' ' << value;
  os << '\n';
  return text;
}
