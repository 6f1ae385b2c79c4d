import type { Plan } from "../../plan/plan.js";

/** Where a rank stands among those that share embedding or head. */
export interface DataPlace {
  readonly dataRank: number;
  readonly tensorRank: number;
}

export function dataPlace(plan: Plan, rank: number): DataPlace {
  const { tensorDegree, dataDegree, placement } = plan.vocabulary;
  const inStage = rank % (plan.ranks / plan.stageLayers.length);
  return placement === "consecutive"
    ? { dataRank: Math.floor(inStage / tensorDegree), tensorRank: inStage % tensorDegree }
    : { dataRank: inStage % dataDegree, tensorRank: Math.floor(inStage / dataDegree) };
}
