// Schedules of everything that works on one row at a time, and the choice between families.
// Vectors are 16 lanes throughout (two registers with AVX2): sums then have one order everywhere.
#include "targets/cpu/Schedules.h"

using namespace ingot;
using namespace Halide;

int32_t ingot::lanesFor(int64_t value, int32_t most) {
  int32_t lanes = 1;
  while (lanes * 2 <= most && lanes * 2 <= value)
    lanes *= 2;
  return lanes;
}

void CpuTarget::schedule(ScheduleRequest &request) const {
  for (LinearStage &stage : request.linears)
    scheduleLinear(request, description, stage, request.outputs.front());
  for (AttentionStage &stage : request.attentions)
    scheduleAttention(request, description, stage, request.outputs.front());
  scheduleRows(request);
}

static void vectorize(Stage stage, Var var, int64_t extent) {
  const int32_t lanes = lanesFor(extent);
  if (lanes > 1)
    stage.vectorize(var, lanes, extent % lanes ? TailStrategy::GuardWithIf : TailStrategy::RoundUp);
}

void ingot::schedulePeak(PeakStage &stage, Func consumer, Var at) {
  int32_t lanes = stage.lanes;
  for (Func &step : stage.steps) {
    step.compute_at(consumer, at).store_in(MemoryType::Stack).bound_extent(stage.l, lanes);
    if (lanes > 1)
      step.vectorize(stage.l, lanes);
    lanes /= 2;
  }
  stage.steps.front().update().vectorize(stage.l, stage.lanes);
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
    schedulePeak(stage.peak, stage.scales, stage.g);
    stage.codes.bound(stage.k, 0, stage.group).vectorize(stage.k, 16).unroll(stage.k);
    if (stage.row.defined()) {
      Var g("row_group"), k("row_k");
      stage.row.compute_root().store_in(MemoryType::Stack);
      stage.row.split(stage.c, g, k, stage.group).vectorize(k);
      for (Func func : {stage.codes, stage.scales, stage.sums})
        func.compute_root().store_in(MemoryType::Stack);
    }
    stage.sums.update().atomic().vectorize(stage.sum_r, 16).unroll(stage.sum_r);
  }
  for (AppendStage &append : request.appends)
    for (int part : {0, 1}) { // keys, values: the first two outputs
      HeadStage &head = part ? append.values : append.keys;
      head.scale.compute_root().store_in(MemoryType::Stack).bound_storage(head.t, max_tokens);
      schedulePeak(head.peak, head.scale, head.t);
      head.codes.compute_at(request.outputs[part].func, request.outputs[part].rvars.back());
      head.codes.store_in(MemoryType::Stack).vectorize(head.i, head.peak.lanes);
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
