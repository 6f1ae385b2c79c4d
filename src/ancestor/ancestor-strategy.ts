import { GalvatronError } from "../base/errors.js";

/**
 * A strategy as the ancestor's 3.0 counts it: six degrees and two switches. `tensor` (Megatron) and `sequence`
 * (Ulysses) exclude each other. The product of the degrees is the number of GPUs unless a degree was floored.
 */
export interface AncestorStrategy {
  readonly stages: number;
  readonly tensor: number;
  readonly sequence: number;
  readonly context: number;
  readonly data: number;
  readonly dataParallel: "ddp" | "zero2" | "zero3";
  readonly recompute: boolean;
}

/** Ranks that hold the same parameters of a layer, and so reduce its gradients together. */
export function shareDegree(strategy: AncestorStrategy): number {
  return strategy.data * strategy.sequence * strategy.context;
}

/** Degree of whichever of the two splits is in use. */
export function splitDegree(strategy: AncestorStrategy): number {
  return Math.max(strategy.tensor, strategy.sequence);
}

/** The ancestor's order of enumeration, which decides its ties. */
export function compareStrategies(a: AncestorStrategy, b: AncestorStrategy): number {
  return (
    a.stages - b.stages ||
    a.tensor - b.tensor ||
    a.sequence - b.sequence ||
    a.context - b.context ||
    a.data - b.data ||
    (a.dataParallel < b.dataParallel ? -1 : a.dataParallel > b.dataParallel ? 1 : 0) ||
    Number(a.recompute) - Number(b.recompute)
  );
}

/** Text form `pp-tp[*]-dp[f][-c][-sp]`: `*` a split group of consecutive ranks, `f` ZeRO-3, `-c` recompute, `-sp` Ulysses. */
export function strategyText(strategy: AncestorStrategy): string {
  const split = splitDegree(strategy);
  return (
    `${strategy.stages}-${split}${split > 1 ? "*" : ""}-${strategy.data}` +
    (strategy.dataParallel === "zero3" ? "f" : "") +
    (strategy.recompute ? "-c" : "") +
    (strategy.sequence > 1 ? "-sp" : "")
  );
}

/**
 * Reads the text form. `shared` is what stands for "not ZeRO-3" (the ancestor's default data parallel kind).
 * @throws GalvatronError PLAN_INVALID
 */
export function parseStrategy(text: string, shared: "ddp" | "zero2"): AncestorStrategy {
  const match = /^(\d+)-(\d+)(\*?)-(\d+)(f?)(-c)?(-sp)?$/.exec(text);
  const stages = Number(match?.[1]);
  const split = Number(match?.[2]);
  const data = Number(match?.[4]);
  if (match === null || !(stages >= 1 && split >= 1 && data >= 1)) {
    throw new GalvatronError(
      "PLAN_INVALID",
      `"${text}" is not a strategy: expected a text such as 2-4*-1f-c-sp.`,
      {
        text,
      },
    );
  }
  const ulysses = match[7] !== undefined;
  return {
    stages,
    tensor: ulysses ? 1 : split,
    sequence: ulysses ? split : 1,
    context: 1,
    data,
    dataParallel: match[5] === "f" ? "zero3" : data === 1 ? "ddp" : shared,
    recompute: match[6] !== undefined,
  };
}
