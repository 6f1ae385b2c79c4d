import { planWaits } from "./plan-waits.js";
import type { FlatParameters, Program } from "./program.js";
import type { RankState } from "./rank-state.js";

/** Decides addresses and waits, and closes the program. */
export function closeProgram(state: RankState): Program {
  const { builder } = state;
  const { offsets, arenaBytes } = state.shared.arenas.plan(builder.buffers);
  for (const [index, buffer] of builder.buffers.entries()) buffer.offsetBytes = offsets[index]!;
  const waits = planWaits(builder.instructions, builder.tensors, builder.buffers, offsets);
  for (const [index, instruction] of builder.instructions.entries()) {
    (instruction as { waits: readonly number[] }).waits = waits[index]!;
  }
  return {
    rank: state.rank,
    plan: state.plan,
    graphs: builder.graphs,
    groups: builder.groups,
    buffers: builder.buffers,
    tensors: builder.tensors,
    instructions: builder.instructions,
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
        wholeBetweenSteps: flat.wholeBetweenSteps,
        computeCopy: flat.computeCopy,
        computeCopyStart: flat.computeCopyStart,
      }),
    ),
    parameters: state.slices,
    constants: state.constants,
  };
}
