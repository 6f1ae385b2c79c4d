import { GalvatronError } from "../base/errors.js";
import type { RankGrid } from "../cluster/rank-groups.js";
import type { LayerGraphs, LayerRequest } from "../graph/layer-graphs.js";
import { EMBEDDING_KIND, HEAD_KIND } from "../model/model-profile.js";
import type { ModelSpec } from "../model/model-spec.js";
import type { Plan } from "../plan/plan.js";
import { firstLayerOfStage, samplesPerRank, strategyGrid } from "../plan/stages.js";
import type { Strategy } from "../plan/strategy.js";
import { type FlatLayout, flatLayouts } from "./flat-layout.js";

/** A layer, the embedding or the head, at its place in the plan: all that is the same on every rank of its stage. */
export interface Site {
  /** -1 the embedding, `layers.length` the head. */
  readonly layer: number;
  /** Full name of its parameters up to their own: "embedding", "layers.3", "head". */
  readonly name: string;
  readonly strategy: Strategy;
  readonly grid: RankGrid;
  readonly graphs: LayerGraphs;
  readonly layouts: readonly FlatLayout[];
  /** Forward steps that backward repeats when only the layer's inputs were kept. */
  readonly recomputeSteps: readonly number[];
  /** Values that any step reads. What crosses a border unread is not moved. */
  readonly reads: ReadonlySet<string>;
  /** Value → its gradient, for borders and parameters that have one. */
  readonly gradientOf: ReadonlyMap<string, string>;
}

/** All sites, by stage, in the order of the forward pass. */
export function planSites(
  model: ModelSpec,
  plan: Plan,
  graphsFor: (request: LayerRequest) => LayerGraphs,
  lossTokens: number,
): readonly (readonly Site[])[] {
  const cache = new Map<string, LayerGraphs>();
  const graphsOf = (kind: string, strategy: Strategy): LayerGraphs => {
    const samples = samplesPerRank(plan, strategy);
    const key = `${kind} ${strategy.tensorDegree} ${strategy.tensorSplit} ${samples}`;
    let graphs = cache.get(key);
    if (graphs === undefined) {
      graphs = graphsFor({ kind, strategy, samples, precision: plan.precision, lossTokens });
      cache.set(key, graphs);
    }
    return graphs;
  };
  const stages = plan.stageLayers.length;
  const tiedNames = new Set(
    graphsOf(HEAD_KIND, plan.vocabulary).parameters.flatMap(({ tiedTo }) => tiedTo ?? []),
  );
  const site = (layer: number, name: string, kind: string, strategy: Strategy, stage: number): Site => {
    const graphs = graphsOf(kind, strategy);
    return {
      layer,
      name,
      strategy,
      grid: strategyGrid(plan, strategy, stage),
      graphs,
      layouts: flatLayouts(graphs, strategy, layer === -1 ? tiedNames : new Set()),
      recomputeSteps: recomputeSteps(graphs),
      reads: new Set([...graphs.forward, ...graphs.backward].flatMap(stepInputs)),
      gradientOf: gradientsByValue(graphs),
    };
  };
  const sites = plan.stageLayers.map((count, stage) => {
    const first = firstLayerOfStage(plan, stage);
    return Array.from({ length: count }, (_, i) =>
      site(first + i, `layers.${first + i}`, model.layers[first + i]!, plan.layers[first + i]!, stage),
    );
  });
  sites[0]!.unshift(site(-1, "embedding", EMBEDDING_KIND, plan.vocabulary, 0));
  sites[stages - 1]!.push(site(model.layers.length, "head", HEAD_KIND, plan.vocabulary, stages - 1));
  return sites;
}

/** The forward steps that backward needs again, when only the layer's inputs were kept. */
function recomputeSteps(graphs: LayerGraphs): readonly number[] {
  const made = new Set(graphs.forward.flatMap(stepOutputs));
  const needed = new Set<string>();
  const produced = new Set<string>();
  for (const step of graphs.backward) {
    for (const input of stepInputs(step)) {
      if (made.has(input) && !produced.has(input)) needed.add(input);
    }
    for (const output of stepOutputs(step)) produced.add(output);
  }
  const steps: number[] = [];
  for (let index = graphs.forward.length - 1; index >= 0; index--) {
    const step = graphs.forward[index]!;
    if (!stepOutputs(step).some((output) => needed.has(output))) continue;
    for (const input of stepInputs(step)) needed.add(input);
    steps.push(index);
  }
  return steps.reverse();
}

export function stepInputs(step: LayerGraphs["forward"][number]): readonly string[] {
  return step.op === "run" ? step.inputs : [step.input];
}

function stepOutputs(step: LayerGraphs["forward"][number]): readonly string[] {
  return step.op === "run" ? step.outputs : [step.output];
}

/** Gradient values of borders and parameters, by the value they are the gradient of. */
function gradientsByValue(graphs: LayerGraphs): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  for (const [name, { gradientOf }] of Object.entries(graphs.values)) {
    if (gradientOf !== undefined) found.set(gradientOf, name);
  }
  return found;
}

/** The value's declaration. @throws {GalvatronError} PROGRAM_INVALID when a step names what was never declared. */
export function declaredValue(site: Site, name: string): LayerGraphs["values"][string] {
  const value = site.graphs.values[name];
  if (value === undefined) {
    throw new GalvatronError(
      "PROGRAM_INVALID",
      `${site.name}: a step names the undeclared value "${name}".`,
      {
        site: site.name,
        value: name,
      },
    );
  }
  return value;
}
