import { GalvatronError } from "../base/errors.js";
import { BYTES_PER_MB } from "../base/units.js";
import { EMBEDDING_KIND, HEAD_KIND, type LayerSample, type ModelProfile } from "../model/model-profile.js";
import type { ModelSpec } from "../model/model-spec.js";
import type { Precision } from "../plan/plan.js";
import type { TensorSplit } from "../plan/strategy.js";
import { type Line, onLine } from "./cost/fits.js";
import type { FittedProfile, VocabularyMemory } from "./cost/fitted-profile.js";

/** Micro-batches on a rank for which samples are laid out; between them lookups interpolate. */
const SAMPLES: readonly number[] = [1, 2, 4, 8, 16, 32];

/** The ancestor counts parameters in MB of float32, and four such copies as states. */
const PARAMETERS_PER_MB: number = BYTES_PER_MB / 4;
const COPIES: number = 4;

/**
 * Our model profile from the ancestor's fitted tables: layers at every split degree with an activation, embedding and
 * head by halves of the profiled rest. Backward is twice forward, as it assumes. Split layers take the forward time of
 * fewer samples, as it does: the efficiency of narrower products was never measured.
 *
 * @param model its kinds, in order of first appearance, must be the layer types of the profile
 * @throws GalvatronError PROFILE_INCOMPLETE where kinds or sequence lengths do not match
 */
export function modelProfileOf(
  profile: FittedProfile,
  model: ModelSpec,
  precision: Precision,
  device: string,
): ModelProfile {
  const names = [...new Set(model.layers)];
  if (names.length !== profile.kinds.length) {
    throw new GalvatronError(
      "PROFILE_INCOMPLETE",
      `The profile has ${profile.kinds.length} layer types, ${model.name} has ${names.length} (${names.join(", ")}).`,
      { model: model.name },
    );
  }
  const layers: LayerSample[] = [];
  for (const [index, name] of names.entries()) {
    const kind = profile.kinds[index]!;
    const sequence = model.kinds[name]!.sequence;
    if (kind.sequence !== sequence) {
      throw new GalvatronError(
        "PROFILE_INCOMPLETE",
        `The profile of "${name}" is for sequence ${kind.sequence}, the model has ${sequence}: fit it for that length.`,
        { kind: name, profiled: kind.sequence, wanted: sequence },
      );
    }
    for (const [degree, activationMB] of kind.activationMB) {
      for (const split of splitsOf(degree)) {
        layers.push(
          ...samplesOf(name, degree, split, sequence, kind.forward, activationMB, {
            inputMB: (kind.recomputeActivationMB ?? 0) / degree,
            parameterMB: split === "weights" ? kind.parameterMB / degree : kind.parameterMB,
          }),
        );
      }
    }
  }
  const half: Line = {
    perUnit: profile.vocabularyForward.perUnit / 2,
    constant: profile.vocabularyForward.constant / 2,
  };
  const end = (name: string, sequence: number, memory: VocabularyMemory): void => {
    for (const [degree, activationMB] of memory.activationMB) {
      for (const split of splitsOf(degree)) {
        const statesMB = memory.statesMB.get(split === "weights" ? degree : 1);
        if (statesMB === undefined) continue;
        layers.push(
          ...samplesOf(name, degree, split, sequence, half, activationMB, {
            inputMB: 0,
            parameterMB: statesMB / COPIES,
          }),
        );
      }
    }
  };
  end(EMBEDDING_KIND, model.kinds[names[0]!]!.sequence, profile.vocabularyFirst);
  end(HEAD_KIND, model.kinds[names.at(-1)!]!.sequence, profile.vocabularyLast);
  return { model, precision, device, source: "measured", layers };
}

function splitsOf(degree: number): readonly TensorSplit[] {
  return degree === 1 ? ["weights"] : ["weights", "sequence"];
}

function samplesOf(
  kind: string,
  tensorDegree: number,
  tensorSplit: TensorSplit,
  sequence: number,
  forward: Line,
  activationMB: number,
  fixed: { readonly inputMB: number; readonly parameterMB: number },
): LayerSample[] {
  return SAMPLES.map((samples) => {
    const forwardMs = onLine(forward, samples / tensorDegree);
    return {
      kind,
      tensorDegree,
      tensorSplit,
      samples,
      sequence,
      forwardMs,
      backwardMs: 2 * forwardMs,
      activationBytes: Math.round(activationMB * samples * BYTES_PER_MB),
      inputBytes: Math.round(fixed.inputMB * samples * BYTES_PER_MB),
      parameterElements: Math.round(fixed.parameterMB * PARAMETERS_PER_MB),
      workspaceBytes: 0,
    };
  });
}
