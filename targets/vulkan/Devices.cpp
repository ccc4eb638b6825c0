#include "targets/vulkan/Devices.h"

#include <algorithm>

using namespace ingot;
using namespace ingot::vulkan;

namespace {

// Dense rates by the vendors' data sheets, at boost clocks, halved: they count two operations a
// multiply-add. GeForce: sums of halves in f32, as kernels have them; a dot product of 4 bytes goes
// where integers go, half as often as floats (Ampere, Ada). Radeon: floats issued by pairs (RDNA
// 3). Adreno: of its floats the lowest figure published (2.1 to 3.7 TFLOP/s), of bytes there is
// none.
constexpr Device table[] = {
    {"h200", "NVIDIA H200", 4800, 33.5, 67, 495, 990},
    {"geforce-rtx-4090", "NVIDIA GeForce RTX 4090", 1008, 41.3, 82.6, 82.6, 330},
    {"geforce-rtx-3090", "NVIDIA GeForce RTX 3090", 936, 17.8, 35.6, 35.6, 142},
    {"radeon-rx-7900-xtx", "AMD Radeon RX 7900 XTX", 960, 30.7, 61.4, 61.4, 61.4},
    {"arc-a770", "Intel Arc A770", 560, 9.8, 39.3, 78.6, 157},
    {"radeon-780m", "AMD Radeon 780M (Ryzen 7 7840U, LPDDR5X-7500)", 120, 4.1, 8.3, 8.3, 8.3},
    {"steam-deck", "AMD Van Gogh (Steam Deck)", 88, 0.8, 3.3, 0, 0},
    {"adreno-740", "Qualcomm Adreno 740 (Snapdragon 8 Gen 2)", 67, 1.0, 0, 0, 0},
};

/// Of a linear layer; what others multiply are floats.
double multiplyAdds(const Device &device, const KernelSpec &spec, const KernelOp &op) {
  const KernelValue &read = spec.values[op.operands[0]];
  // Products of matrices take more than 8 tokens (codegen/spirv).
  const bool matrices = spec.max_tokens > 8;
  if (read.kind != KernelValue::Kind::quant)
    return device.floats;
  if (read.encoding.code == CodeKind::f16)
    return matrices && device.half_matrices ? device.half_matrices : device.floats;
  return matrices && device.byte_matrices ? device.byte_matrices
         : device.bytes                   ? device.bytes
                                          : device.floats;
}

} // namespace

llvm::ArrayRef<Device> ingot::vulkan::devices() { return table; }

double ingot::vulkan::estimate(const Device &device, const KernelSpec &spec, int64_t tokens,
                               int64_t position) {
  const KernelCost cost = kernelCost(spec, tokens, position);
  double rate = device.floats;
  for (const KernelOp &op : spec.ops)
    if (op.kind == KernelOp::Kind::linear)
      rate = multiplyAdds(device, spec, op);
  const double bytes = double(cost.weight_bytes + cost.cache_bytes + cost.activation_bytes);
  return launch_nanoseconds +
         std::max(bytes / device.memory_gbps, double(cost.macs) / (1000 * rate));
}
