// Schedules of everything that works on one row at a time, and the choice between families.
// Vectors are 16 lanes throughout (two registers with AVX2): sums then have one order everywhere.
#include "targets/x86/Schedules.h"

using namespace ingot;
using namespace Halide;

int32_t ingot::lanesFor(int64_t value, int32_t most) {
  int32_t lanes = 1;
  while (lanes * 2 <= most && lanes * 2 <= value)
    lanes *= 2;
  return lanes;
}

void X86Target::schedule(ScheduleRequest &request) const {
  for (LinearStage &stage : request.linears)
    scheduleLinear(request, stage, request.outputs.front());
  for (AttentionStage &stage : request.attentions)
    scheduleAttention(request, stage, request.outputs.front());
  scheduleRows(request);
}

static void vectorize(Stage stage, Var var, int64_t extent) {
  const int32_t lanes = lanesFor(extent);
  if (lanes > 1)
    stage.vectorize(var, lanes, extent % lanes ? TailStrategy::GuardWithIf : TailStrategy::RoundUp);
}

void ingot::scheduleRows(ScheduleRequest &request) {
  const int32_t max_tokens = request.spec.max_tokens;
  for (NormStage &norm : request.norms) {
    norm.inverse.compute_root().store_in(MemoryType::Stack).bound_storage(norm.t, max_tokens);
    norm.partial.compute_at(norm.inverse, norm.t).store_in(MemoryType::Stack);
    norm.partial.bound_extent(norm.l, 16).vectorize(norm.l, 16);
    norm.partial.update().vectorize(norm.l, 16);
  }
  for (QuantizeStage &stage : request.quantizes) {
    int32_t lanes = 16;
    for (Func &maximum : stage.maxima) {
      maximum.compute_at(stage.scales, stage.g).store_in(MemoryType::Stack);
      maximum.bound_extent(stage.l, lanes);
      if (lanes > 1)
        maximum.vectorize(stage.l, lanes);
      lanes /= 2;
    }
    stage.maxima.front().update().vectorize(stage.l, 16);
    stage.codes.bound(stage.k, 0, stage.group).vectorize(stage.k, 16).unroll(stage.k);
    stage.sums.update().atomic().vectorize(stage.sum_r, 16).unroll(stage.sum_r);
  }
  for (OutputStage &output : request.outputs) {
    switch (output.kind) {
    case OutputStage::Kind::columns:
      vectorize(output.func, output.vars[0], output.width);
      break;
    case OutputStage::Kind::pairs:
      output.func.bound(output.vars[1], 0, 2).unroll(output.vars[1]);
      vectorize(output.func, output.vars[0], output.width);
      break;
    case OutputStage::Kind::scatter: {
      // Every element of the domain writes its own place.
      const int32_t lanes = lanesFor(output.width);
      if (lanes > 1)
        output.func.update().allow_race_conditions().vectorize(output.rvars[0], lanes);
      break;
    }
    case OutputStage::Kind::blocks:
    case OutputStage::Kind::heads:
    case OutputStage::Kind::quant:
      break;
    }
  }
}
