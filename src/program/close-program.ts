import { planArena } from "./plan-arena.js";
import { planWaits } from "./plan-waits.js";
import type { BufferPlan, FlatParameters, Instruction, Program } from "./program.js";
import type { RankState } from "./rank-state.js";

/** Decides addresses and waits, and closes the program. */
export function closeProgram(state: RankState): Program {
  const { builder } = state;
  const { offsets, arenaBytes } = planArena(builder.buffers);
  const waits = planWaits(builder.instructions, builder.tensors, builder.buffers, offsets);
  return {
    rank: state.rank,
    plan: state.plan,
    graphs: builder.graphs,
    groups: builder.groups,
    buffers: builder.buffers.map(
      (buffer, index): BufferPlan => ({
        name: buffer.name,
        category: buffer.category,
        sizeBytes: buffer.sizeBytes,
        offsetBytes: offsets[index]!,
        persistent: buffer.persistent,
        first: buffer.first,
        last: buffer.last,
      }),
    ),
    tensors: builder.tensors,
    instructions: builder.instructions.map(
      (instruction, index): Instruction => ({ ...instruction, waits: waits[index]! }),
    ),
    arenaBytes,
    io: {
      hyper: state.hyper,
      clip: state.clip,
      loss: state.loss,
      inputs: state.inputs,
      inputPlaces: state.inputPlaces,
    },
    flats: state.flats.map(
      (flat): FlatParameters => ({
        layer: flat.layer,
        tied: flat.layout.part === "tied",
        elements: flat.layout.elements,
        shardStart: flat.shardStart,
        shardElements: flat.shardElements,
        parameter: flat.parameter,
        gradient: flat.ownGradient,
        moment1: flat.moment1,
        moment2: flat.moment2,
        parameterStart: flat.parameterStart,
        gradientStart: flat.ownGradientStart,
        computeCopy: flat.computeCopy,
        computeCopyStart: flat.computeCopyStart,
      }),
    ),
    parameters: state.slices,
    constants: state.constants,
  };
}
