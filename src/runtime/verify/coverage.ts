import type { Plan } from "../../plan/plan.js";
import type { Strategy } from "../../plan/strategy.js";

/** How often dimensions, and pairs of them, came together in plans. */
export interface Coverage {
  readonly dimensions: Readonly<Record<string, number>>;
  readonly pairs: Readonly<Record<string, number>>;
}

export function coverageOf(plans: readonly Plan[]): Coverage {
  const dimensions: Record<string, number> = {};
  const pairs: Record<string, number> = {};
  for (const plan of plans) {
    const own = dimensionsOf(plan);
    for (const [index, name] of own.entries()) {
      dimensions[name] = (dimensions[name] ?? 0) + 1;
      for (const other of own.slice(index + 1))
        pairs[`${name} × ${other}`] = (pairs[`${name} × ${other}`] ?? 0) + 1;
    }
  }
  return { dimensions: sorted(dimensions), pairs: sorted(pairs) };
}

/** What a plan uses anywhere, in alphabetical order. */
function dimensionsOf(plan: Plan): readonly string[] {
  const strategies = [...plan.layers, plan.vocabulary];
  const any = (holds: (strategy: Plan["vocabulary"]) => boolean): boolean => strategies.some(holds);
  const found: Readonly<Record<string, boolean>> = {
    accumulation: plan.microBatches > 1,
    "canonical order": plan.gradientOrder === "canonical",
    "data parallel": any((s) => s.dataDegree > 1 && s.dataParallel === "ddp"),
    "layout change": strategies.some((s) => borderLayout(s) !== borderLayout(plan.vocabulary)),
    "mixed strategies": new Set(plan.layers.map((s) => JSON.stringify(s))).size > 1,
    "pipeline 1f1b": plan.stageLayers.length > 1 && plan.schedule === "1f1b",
    "pipeline gpipe": plan.stageLayers.length > 1 && plan.schedule === "gpipe",
    recompute: any((s) => s.recompute),
    "sequence split": any((s) => s.tensorDegree > 1 && s.tensorSplit === "sequence"),
    strided: any((s) => s.placement === "strided"),
    "tensor parallel": any((s) => s.tensorDegree > 1 && s.tensorSplit === "weights"),
    "tensor parallel vocabulary":
      plan.vocabulary.tensorDegree > 1 && plan.vocabulary.tensorSplit === "weights",
    "uneven stages": new Set(plan.stageLayers).size > 1,
    zero1: any((s) => s.dataParallel === "zero1"),
    zero2: any((s) => s.dataParallel === "zero2"),
    zero3: any((s) => s.dataParallel === "zero3"),
  };
  return Object.keys(found).filter((name) => found[name]);
}

/** What adjacent layers must have in common to need no layout change. */
function borderLayout({ tensorDegree, placement }: Strategy): string {
  return `${tensorDegree} ${placement}`;
}

function sorted(counts: Readonly<Record<string, number>>): Readonly<Record<string, number>> {
  return Object.fromEntries(Object.entries(counts).sort(([a], [b]) => (a < b ? -1 : 1)));
}
