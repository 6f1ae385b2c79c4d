import type { ModelSpec } from "../model/model-spec.js";
import type { Plan } from "./plan.js";
import { stateRanks } from "./stages.js";
import type { Strategy } from "./strategy.js";

/**
 * The one set of rules that every plan keeps: search only proposes what passes it, the compiler only takes what
 * passes it, a plan file is read through it. Every broken rule in words; empty when the plan is valid.
 */
export function verifyPlan(model: ModelSpec, plan: Plan): readonly string[] {
  const problems = outerProblems(model, plan);
  if (problems.length > 0) return problems; // the rules below divide by what these check
  const stageRanks = plan.ranks / plan.stageLayers.length;
  const told = new Map<string, string>();
  for (const [layer, strategy] of plan.layers.entries()) {
    const kind = model.layers[layer]!;
    const key = `${kind} ${JSON.stringify(strategy)}`;
    if (told.has(key)) continue;
    told.set(key, kind);
    const where = `layer ${layer}`;
    problems.push(
      ...strategyProblems(plan, strategy, stageRanks, where),
      ...splitProblems(model, kind, strategy, where),
    );
  }
  problems.push(
    ...strategyProblems(plan, plan.vocabulary, stageRanks, "vocabulary"),
    ...vocabularyProblems(model, plan),
  );
  return problems;
}

function outerProblems(model: ModelSpec, plan: Plan): string[] {
  const problems: string[] = [];
  const counts = {
    ranks: plan.ranks,
    globalBatch: plan.globalBatch,
    microBatches: plan.microBatches,
    "number of stages": plan.stageLayers.length,
  };
  for (const [name, count] of Object.entries(counts)) {
    if (!Number.isInteger(count) || count < 1) {
      problems.push(`${name}: expected a whole number of at least 1, got ${count}`);
    }
  }
  if (problems.length > 0) return problems;
  if (plan.ranks % plan.stageLayers.length !== 0) {
    problems.push(`${plan.ranks} ranks do not divide into ${plan.stageLayers.length} equal stages`);
  }
  for (const [stage, layers] of plan.stageLayers.entries()) {
    if (!Number.isInteger(layers) || layers < 1) {
      problems.push(`stage ${stage}: expected at least one layer, got ${layers}`);
    }
  }
  const sum = plan.stageLayers.reduce((total, layers) => total + layers, 0);
  if (sum !== model.layers.length) {
    problems.push(`the stages hold ${sum} layers, the model has ${model.layers.length}`);
  }
  if (plan.layers.length !== model.layers.length) {
    problems.push(`${plan.layers.length} layer strategies for ${model.layers.length} layers`);
  }
  if (plan.globalBatch % plan.microBatches !== 0) {
    problems.push(
      `a global batch of ${plan.globalBatch} does not divide into ${plan.microBatches} micro-batches`,
    );
  }
  return problems;
}

function strategyProblems(plan: Plan, strategy: Strategy, stageRanks: number, where: string): string[] {
  const { tensorDegree, dataDegree } = strategy;
  if (!isCount(tensorDegree) || !isCount(dataDegree)) {
    return [`${where}: degrees are whole numbers of at least 1, got ${tensorDegree} and ${dataDegree}`];
  }
  const problems: string[] = [];
  if (tensorDegree * dataDegree !== stageRanks) {
    problems.push(
      `${where}: tensor degree ${tensorDegree} × data degree ${dataDegree} = ${tensorDegree * dataDegree}, ` +
        `but a stage has ${stageRanks} ranks`,
    );
  }
  const microBatch = plan.globalBatch / plan.microBatches;
  if (microBatch % dataDegree !== 0) {
    problems.push(
      `${where}: a micro-batch of ${microBatch} samples does not divide over data degree ${dataDegree}`,
    );
  }
  if (tensorDegree === 1 && strategy.tensorSplit !== "weights") {
    problems.push(`${where}: tensorSplit is "weights" where the tensor degree is 1`);
  }
  if (stateRanks(strategy) === 1 && strategy.dataParallel !== "ddp") {
    problems.push(
      `${where}: dataParallel is "ddp" where only one rank holds the states, got "${strategy.dataParallel}"`,
    );
  }
  if ((tensorDegree === 1 || dataDegree === 1) && strategy.placement !== "consecutive") {
    problems.push(`${where}: placement is "consecutive" where one of the degrees is 1`);
  }
  return problems;
}

function splitProblems(model: ModelSpec, kindName: string, strategy: Strategy, where: string): string[] {
  const kind = model.kinds[kindName];
  if (kind === undefined) return [`${where}: the model has no kind "${kindName}"`];
  const degree = strategy.tensorDegree;
  if (degree === 1) return [];
  const problems: string[] = [];
  const divides = (count: number, what: string): void => {
    if (count % degree !== 0) {
      problems.push(
        `${where}: ${count} ${what} of kind "${kindName}" do not divide over ${strategy.tensorSplit} split ${degree}`,
      );
    }
  };
  divides(kind.sequence, "positions");
  divides(kind.heads, "attention heads");
  divides(kind.keyValueHeads, "key and value heads");
  if (strategy.tensorSplit === "weights") divides(kind.feedForward, "feed-forward columns");
  return problems;
}

/** Embedding and head; the vocabulary itself is padded and need not divide. */
function vocabularyProblems(model: ModelSpec, plan: Plan): string[] {
  const degree = plan.vocabulary.tensorDegree;
  const problems: string[] = [];
  const ends = [
    ["embedding", model.layers[0]],
    ["head", model.layers.at(-1)],
  ] as const;
  for (const [name, kindName] of ends) {
    const sequence = model.kinds[kindName ?? ""]?.sequence ?? model.sequence;
    if (sequence % degree !== 0) {
      problems.push(`${name}: ${sequence} positions do not divide over tensor degree ${degree}`);
    }
  }
  return problems;
}

function isCount(value: number): boolean {
  return Number.isInteger(value) && value >= 1;
}
