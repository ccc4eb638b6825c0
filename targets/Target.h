// What a target is: one object made of a machine model (data), legal encodings and their packed
// layouts, tiles and schedules, and a link recipe. targets/NAME/ is the only place that knows NAME.
#pragma once

#include "dialects/kernel/KernelSpec.h"

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <memory>
#include <string>
#include <vector>

namespace llvm {
class Module;
} // namespace llvm

namespace ingot {

struct ScheduleRequest; // codegen/halide/Schedule.h: the Funcs of a kernel with their roles

/// What one core does at its best, a cycle, of vectors of Machine::vector_bits.
struct Rates {
  double issue = 4;           ///< instructions (fused with a load where they have one)
  double multiplies = 1;      ///< integer dot products and fused float multiply-adds
  double operations = 2;      ///< vector arithmetic of any kind, multiplies included
  double loads = 2;           ///< vectors, or scalars broadcast to vectors
  double stores = 1;          ///< vectors
  double gigahertz = 3;       ///< under such load
  double memory_gbps = 12;    ///< read by one core
  double memory_streams = 6;  ///< sequential reads side by side that reach that
  int32_t prefetch_cache = 1; ///< into which memory is asked ahead; 1: past the others
  /// How far ahead: about what one core has on its way at once (100 ns at 20 GB/s), in all the
  /// streams that it reads side by side. Pages of 4 KiB end the hardware's own fetches ahead.
  int32_t prefetch_bytes = 2048;
  double all_gbps = 0;   ///< read by all cores together; 0: what two of them read
  double unhidden = 0.3; ///< share of the time of other resources that the scarcest does not hide
  double launch_nanoseconds = 0; ///< of a device: what it takes to begin and end a kernel
};

/// What the machine has for products of bytes.
enum class ByteDot : uint8_t {
  mixed_quads,  ///< i32 += 4 products of unsigned by signed
  signed_quads, ///< i32 += 4 products of signed by signed: codes are made signed
  mixed_pairs,  ///< i16 = 2 products of unsigned by signed, saturated (small codes)
  lanes,        ///< i16 += 1 product of signed by signed
};

/// An instruction that looks bytes up in 16 of them: `intrinsic` is LLVM's name of a function of
/// two vectors, the table, repeated every 16 bytes, and indices below 16.
struct TableLookup {
  const char *intrinsic;
  uint32_t bytes; ///< of its vectors
};

/// The machine as data.
struct Machine {
  std::string name;                  ///< "x86-64-v4", "host (znver4)", "x86-64-v3+v4"
  std::string triple;                ///< "x86_64-unknown-linux-gnu"
  std::string isa;                   ///< short name of the instruction set in use: "avx512-vnni"
  std::string cpu;                   ///< LLVM's name of the processor that code is tuned for
  std::vector<std::string> features; ///< LLVM feature names: all that code may use
  std::string
      baseline; ///< those that steps and the C library use ("+a,+b"), beyond the triple's own
  int32_t vector_bits = 128;
  int32_t vector_registers = 16;
  ByteDot byte_dot = ByteDot::mixed_quads;
  bool dot_by_lane = false;   ///< it can take its 4 activations from any lane of a register
  bool byte_matrices = false; ///< products of quads for two tokens at once cost as much as for one
  bool word_pairs = true;     ///< i32 += 2 products of i16 is one instruction
  bool half_products = false; ///< f32 += f16 * f16, rounded once, is one instruction
  std::vector<TableLookup> table_lookups; ///< narrowest first; empty: it loads number by number
  int64_t address_bytes = 0;              ///< that a program can address; 0: more than models have
  int64_t l1_bytes = 32 << 10, l2_bytes = 512 << 10, l3_bytes = 0;
  int64_t near_bytes =
      0; ///< memory as near as a cache, which an app may lend to a session; 0: none
  Rates rates;
};

/// How products of codes and those of activations are summed; decides the shape of the
/// accumulators.
enum class DotForm : uint8_t {
  quads,            ///< i32 += 4 products at once (exact)
  saturating_pairs, ///< i16 += 2 products at once, pairSteps times, then i32 (exact)
  lanes,            ///< i16 += 1 product at once, at most 16 times, small codes (exact)
  widened_pairs,    ///< codes and activations widened to i16, i32 += 2 products at once (exact)
  halves,           ///< f32 += code * half, in order; products are exact
  floats,           ///< codes decoded to f32
};

/// The form for weights of an encoding that meet activations `x`: rows or a quant.
DotForm dotForm(const Machine &machine, const Encoding &encoding, const KernelValue &x);
/// How often i16 holds the sum of 2 products of i8 activations and codes, as they are multiplied: 8
/// times (4 bits), 4 (5), 2 (6), or 1 (7 bits and more).
int32_t pairSteps(const Machine &machine, const Encoding &encoding);

/// True where codes, which are stored unsigned, are to be signed bytes: the same numbers below 128,
/// and less by 128 where they have 8 bits. Those of tables are then the numbers that they stand
/// for.
inline bool signedCodes(const Machine &machine) {
  return machine.byte_dot == ByteDot::signed_quads || machine.byte_dot == ByteDot::lanes;
}

/// What a kernel reads more than once, by the machine model: with Machine::near_bytes, and without.
struct NearUse {
  int32_t rows = 0, tokens = 0; ///< at once; 0: the kernel has no use for such memory
  double near = 0, cache = 0;   ///< bytes from there, and from the second-level cache
  double cache_alone = 0;       ///< from that without it
};

/// What a model is linked to.
enum class LinkForm : uint8_t {
  program, ///< needs nothing else
  shared,  ///< a library of the system's programs, which shows the model and the functions of
           ///< ingot.h
  object,  ///< one object, to be linked with the runtime
};

/// How a program for this target is linked.
struct LinkInputs {
  std::vector<std::string> objects; ///< kernels, steps, tables (paths)
  /// Packed weights, whose first `weightsReserve` bytes are free; empty: they stay in their file.
  std::string weights;
  uint64_t weight_bytes = 0;
  std::string runtime_folder; ///< where Ingot keeps the runtime and the C library to link
  std::string output;
  std::string scratch; ///< a path: `link` may write files that start with it
  LinkForm form = LinkForm::program;
  std::string symbol; ///< of libraries and objects: what the program is called in them
  std::string name;   ///< of a library: what programs that are linked with it look for
};

/// What kernels are made of, and so who runs them.
enum class KernelForm : uint8_t {
  objects, ///< machine code, which threads of the processor call (codegen/halide)
  spirv,   ///< compute shaders, which a device of the runtime dispatches (codegen/spirv)
};

class Target {
public:
  virtual ~Target() = default;
  virtual const Machine &machine() const = 0;

  /// The encoding that kernels read for a matrix stored as `stored`: the same values exactly
  /// (scales f16, minima f32 -> both f32), never fewer bits. `stored` itself where it is legal.
  virtual Encoding legalEncoding(const Encoding &stored) const = 0;
  /// The packed layout for a legal encoding.
  virtual PackedLayout packedLayout(const Encoding &encoding) const = 0;
  /// The tiles that `schedule` honours for a kernel, at least one; spec.tile is ignored. All of
  /// them give the same bits: a tile says which sums run side by side, never the order within one.
  virtual std::vector<Tile> tileCandidates(const KernelSpec &spec) const = 0;
  /// What the machine model says of a kernel with spec.tile: nanoseconds on one core for `tokens`
  /// tokens behind `position` others, all slices.
  virtual double estimate(const KernelSpec &spec, int64_t tokens, int64_t position) const = 0;
  /// Those whose machine() and estimate() say how fast a program is: of a target for any device,
  /// the devices of a table.
  virtual std::vector<const Target *> models() const { return {this}; }
  /// The candidate of the lowest estimate, at typicalPosition(spec) and with full and partly full
  /// steps.
  Tile tile(const KernelSpec &spec) const;
  /// Of a kernel with spec.tile, for `tokens` tokens.
  virtual NearUse nearUse(const KernelSpec &spec, int64_t tokens) const { return {}; }
  /// What its linear layers read where the user does not choose (--activations).
  virtual Activations activations() const { return Activations::int8; }
  /// What its linear layers can read.
  virtual llvm::ArrayRef<Activations> readableActivations() const {
    static constexpr Activations all[] = {Activations::int8, Activations::int16, Activations::f32};
    return all;
  }
  /// Where they are halves: whether layers of f16 weights read those, too. Else they read floats.
  virtual bool multipliesHalves() const { return false; }
  /// Most tokens that one prefill step should take.
  virtual int32_t prefillTokens() const = 0;

  virtual KernelForm kernelForm() const { return KernelForm::objects; }
  /// Of objects: name and features as Halide spells them ("x86-64-linux-avx512_zen4-...").
  virtual std::string halideTarget() const { return ""; }
  /// Of objects: functions that Halide puts around every kernel of such a machine and that programs
  /// do without: their calls give 0.
  virtual std::vector<std::string> needlessCalls() const { return {}; }
  /// Of objects: the last word on a kernel's code, before LLVM selects instructions. It changes no
  /// result.
  virtual void finishKernel(llvm::Module &module) const {}
  /// Of objects: LLVM IR of a kernel that the target makes itself, out of functions of its runtime.
  /// Empty: Halide makes it.
  virtual std::string kernelCode(const KernelSpec &spec) const { return ""; }
  /// Of objects: schedules one kernel.
  virtual void schedule(ScheduleRequest &request) const {}
  /// Of other forms: the runtime's symbol for what runs them (runtime/core/device.h).
  virtual std::string device() const { return ""; }

  /// Bytes that the packer leaves free at the front of the weights' file, so that `link` can turn
  /// that file into the program without copying it.
  virtual uint64_t weightsReserve() const = 0;
  /// Links the program: completes `inputs.weights` in place and gives it the name `inputs.output`.
  virtual llvm::Error link(const LinkInputs &inputs) const = 0;
  /// True where `link` makes LinkForm::shared: the system's programs load libraries.
  virtual bool linksShared() const { return false; }
  /// Names of all files in LinkInputs::runtime_folder that `link` takes.
  virtual std::vector<std::string> runtimeFiles() const { return {}; }
  /// Links objects of kernels so that this process can load them (`output`: a path).
  virtual llvm::Error linkLoadable(const std::vector<std::string> &objects,
                                   const std::string &output) const = 0;
  /// True when programs for this target run on this machine.
  virtual bool runsHere() const = 0;
  /// The command that runs such programs on other machines, words apart by spaces: it pretends to
  /// have all that the best variant needs, and of what that variant lacks no more than it must.
  /// Empty: none does.
  virtual std::string emulator() const { return ""; }

  /// The machines that one program carries kernels for, best first; it picks one when it starts. A
  /// single machine is its own only variant. What concerns the whole program (encodings, layouts,
  /// linking) is asked of the target itself, what concerns code of each variant.
  virtual std::vector<const Target *> variants() const { return {this}; }
};

/// legalEncoding and packedLayout for all variants, because weights exist once: the best that each
/// of them reads as it is, and a layout that all agree on. The error names the encoding and who
/// disagrees.
llvm::Expected<Encoding> commonLegalEncoding(const Target &target, const Encoding &stored);
llvm::Expected<PackedLayout> commonPackedLayout(const Target &target, const Encoding &encoding);

/// One line of the table that `ingot targets` prints.
struct TargetName {
  std::string name, description;
  bool runs_here = false;
};
std::vector<TargetName> targetNames();
/// "host", a name from targetNames(), or several of one family joined by '+', all of whose kernels
/// the program then carries. The error lists the names.
llvm::Expected<std::unique_ptr<Target>> makeTarget(llvm::StringRef name);
/// Target::activations of the target of that name; int8 where there is none.
Activations defaultActivations(llvm::StringRef name);
/// An error where kernels of a variant cannot read them.
llvm::Error checkActivations(const Target &target, Activations activations);

} // namespace ingot
