import type { ModelSpec } from "../model/model-spec.js";

/** Every kind once, in order, so that each layer finds before and after it what it expects; this one `count` times. */
export function sliced(model: ModelSpec, kind: string, count: number): ModelSpec {
  const layers = kindsOf(model).flatMap((name) =>
    name === kind ? new Array<string>(count).fill(name) : [name],
  );
  return { ...model, layers };
}

/** Where a kind's layers begin in the sliced model. */
export const firstOf = (model: ModelSpec, kind: string): number => kindsOf(model).indexOf(kind);

const kindsOf = ({ layers }: ModelSpec): readonly string[] => [...new Set(layers)];
