import { GalvatronError } from "../base/errors.js";
import type { LayerStep } from "../graph/layer-graphs.js";
import { type GradientSink, openGradientSink } from "./gradients.js";
import type { ParameterViews } from "./parameter-views.js";
import type { InstructionLabel } from "./program.js";
import type { RankState, SiteState } from "./rank-state.js";
import { contributeGradients } from "./reduce-gradients.js";
import { declaredValue } from "./sites.js";

/** Value name → tensor, for one visit of one micro-batch. */
export type Environment = Map<string, number>;

interface Visit {
  readonly state: RankState;
  readonly views: ParameterViews;
  readonly site: SiteState;
  readonly microBatch: number;
  readonly environment: Environment;
  readonly label: InstructionLabel;
  /** Where gradients of parameters go; backward only. */
  readonly sink?: GradientSink;
  /** The loss goes where it counts (not when forward is only repeated). */
  readonly countLoss: boolean;
}

/** Runs a site forward. Returns its border outputs, and what backward will find. */
export function emitForward(
  state: RankState,
  views: ParameterViews,
  site: SiteState,
  microBatch: number,
  borderInputs: readonly (number | undefined)[],
): { readonly outputs: readonly number[]; readonly kept: Environment } {
  const { graphs, strategy, layer } = site.site;
  const environment: Environment = new Map();
  for (const [index, name] of graphs.borderInputs.entries()) {
    const tensor = borderInputs[index];
    if (tensor !== undefined) environment.set(name, tensor);
  }
  const kept = strategy.recompute ? new Map(environment) : environment;
  const label: InstructionLabel = { phase: "forward", layer, microBatch };
  const visit: Visit = {
    state,
    views,
    site,
    microBatch,
    environment,
    label,
    countLoss: true,
  };
  for (const step of graphs.forward) emitStep(visit, step);
  return { outputs: graphs.borderOutputs.map((name) => read(visit, name)), kept };
}

/** What a site's backward finds: what forward kept, and where the strategy says so all that is repeated from it. */
export function emitRecompute(
  state: RankState,
  views: ParameterViews,
  site: SiteState,
  microBatch: number,
  kept: Environment,
): Environment {
  const { graphs, strategy, layer, recomputeSteps } = site.site;
  const environment = new Map(kept);
  if (strategy.recompute) {
    const label: InstructionLabel = { phase: "recompute", layer, microBatch };
    const visit: Visit = { state, views, site, microBatch, environment, label, countLoss: false };
    for (const index of recomputeSteps) emitStep(visit, graphs.forward[index]!);
  }
  return environment;
}

/**
 * Runs a site backward. `outputGradients` are those of the border outputs, in order; returns those of the border inputs
 * (`undefined` where the layer makes none).
 */
export function emitBackward(
  state: RankState,
  views: ParameterViews,
  site: SiteState,
  microBatch: number,
  environment: Environment,
  outputGradients: readonly (number | undefined)[],
): readonly (number | undefined)[] {
  const { graphs, layer, gradientOf } = site.site;
  for (const [index, name] of graphs.borderOutputs.entries()) {
    const gradient = gradientOf.get(name);
    const tensor = outputGradients[index];
    if (gradient !== undefined && tensor !== undefined) environment.set(gradient, tensor);
  }
  const label: InstructionLabel = { phase: "backward", layer, microBatch };
  const sink = openGradientSink(state, site, microBatch);
  const visit: Visit = { state, views, site, microBatch, environment, label, sink, countLoss: false };
  for (const step of graphs.backward) emitStep(visit, step);
  contributeGradients(state, site, sink, microBatch);
  return graphs.borderInputs.map((name) => {
    const gradient = gradientOf.get(name);
    return gradient === undefined ? undefined : environment.get(gradient);
  });
}

function emitStep(visit: Visit, step: LayerStep): void {
  const { state, label } = visit;
  const { builder } = state;
  const stream = "compute";
  if (step.op === "run") {
    const inputs = step.inputs.map((name) => read(visit, name));
    const outputs = step.outputs.map((name) => write(visit, name));
    builder.emit({ op: "run", stream, label, graph: builder.graph(step.graph), inputs, outputs });
  } else {
    const { op, reduction } = step;
    const input = read(visit, step.input);
    const output = write(visit, step.output);
    builder.emit({ op, stream, label, group: visit.site.tensorGroup, reduction, input, output });
  }
}

function read(visit: Visit, name: string): number {
  const { site, environment, views, microBatch } = visit;
  const known = environment.get(name);
  if (known !== undefined) return known;
  let tensor: number | undefined;
  switch (declaredValue(site.site, name).role) {
    case "parameter":
      return views.tensor(site, name);
    case "data":
      tensor = site.data.get(name)?.[microBatch];
      break;
    case "constant":
      tensor = site.constants.get(name);
      break;
    default:
  }
  if (tensor === undefined) {
    throw new GalvatronError(
      "PROGRAM_INVALID",
      `${site.site.name}: ${visit.label.phase} reads "${name}" before anything has written it.`,
      { site: site.site.name, value: name },
    );
  }
  environment.set(name, tensor);
  return tensor;
}

/** The tensor that a step writes a value to: a new one, unless the value has its place already. */
function write(visit: Visit, name: string): number {
  const { state, site, environment, microBatch, sink } = visit;
  const value = declaredValue(site.site, name);
  if (value.role === "parameterGradient") {
    const place = sink?.tensor(name);
    if (place !== undefined) {
      environment.set(name, place);
      return place;
    }
  }
  if (value.role === "loss" && visit.countLoss) {
    return state.builder.view(state.loss, `loss#${microBatch}`, microBatch * value.shape[0]!, value.shape);
  }
  const backward = visit.label.phase === "backward";
  const activation = !backward && (value.role === "borderOutput" || site.saved.has(name));
  const tensor = state.builder.tensor(
    `${site.site.name}.${name}#${microBatch}`,
    activation ? "activation" : "transient",
    value.dtype,
    value.shape,
  );
  environment.set(name, tensor);
  return tensor;
}
