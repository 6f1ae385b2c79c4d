import type { Dtype } from "../base/units.js";
import { EMBEDDING_KIND, HEAD_KIND } from "../model/model-profile.js";
import type { ModelSpec } from "../model/model-spec.js";
import { computeDtype } from "../plan/precision.js";
import { cutPass, type Pass, savedFor } from "./cut.js";
import { differentiate, type Seed } from "./differentiate.js";
import type { NamedValue } from "./emit-onnx.js";
import type { FamilyLayers } from "./family-layers.js";
import type { Value } from "./ir.js";
import type { LayerGraphs, LayerRequest, LayerValue } from "./layer-graphs.js";
import { LayerScope } from "./layer-scope.js";
import type { Lowering } from "./lower.js";
import { GraphError, parameterGradientDtype } from "./ops/op-definition.js";

export interface LayerGraphsOptions extends Partial<Lowering> {
  /** Instead of the request's precision: `float64` for finite differences. */
  readonly dtype?: Dtype;
}

/** Name of the gradient of a layer's value. */
export function gradientName(name: string): string {
  return `${name}.gradient`;
}

/**
 * Builds one layer under one strategy: its forward, the backward derived from it, both cut at their collectives.
 * A pure function of its arguments; equal arguments give equal bytes.
 *
 * @throws GalvatronError `PLAN_INVALID` when heads, widths, vocabulary or sequence do not divide over the tensor group
 */
export function buildLayerGraphs(
  layers: FamilyLayers,
  model: ModelSpec,
  request: LayerRequest,
  options: LayerGraphsOptions = {},
): LayerGraphs {
  const dtype = options.dtype ?? computeDtype(request.precision);
  const customOps = options.customOps ?? false;
  const scope = new LayerScope(request, dtype, customOps === true, {
    hidden: Number(model.options.dropout ?? 0),
    attention: Number(model.options.attentionDropout ?? 0),
  });
  writeLayer(scope, layers, model);
  return cutLayer(scope, { customOps });
}

function writeLayer(scope: LayerScope, layers: FamilyLayers, model: ModelSpec): void {
  const { kind } = scope.request;
  const spec = model.kinds[kind];
  if (kind === EMBEDDING_KIND) layers.embedding(scope, model);
  else if (kind === HEAD_KIND) layers.head(scope, model);
  else if (spec) layers.body(scope, model, spec);
  else throw new GraphError(`${model.name} has no layers of kind ${kind}`);
}

/** The values of a layer by name, as they are collected. */
class Values {
  readonly record: Record<string, LayerValue> = {};
  private readonly names = new Map<number, string>();

  set(name: string, value: Value, role: LayerValue["role"], gradientOf?: string): void {
    this.record[name] = {
      dtype: value.dtype,
      shape: value.shape,
      role,
      ...(gradientOf === undefined ? {} : { gradientOf }),
    };
    if (!this.names.has(value.id)) this.names.set(value.id, name);
  }

  /** Named values keep their names; intermediates are numbered in the order of their making. */
  nameOf = (value: Value): string => {
    const known = this.names.get(value.id);
    if (known !== undefined) return known;
    const name = `value.${value.id}`;
    this.set(name, value, "intermediate");
    return name;
  };
}

function cutLayer(scope: LayerScope, lowering: Lowering): LayerGraphs {
  const { g } = scope;
  const { kind } = scope.request;
  const values = new Values();
  for (const [name, { value, role }] of scope.inputs) values.set(name, value, role);
  for (const [name, { value }] of scope.parameters) values.set(name, value, "parameter");
  const constants = [...scope.constants].filter(([, { value }]) => value.node === null);
  for (const [name, { value }] of constants) values.set(name, value, "constant");
  const given = new Set(
    [...scope.inputs.values(), ...scope.parameters.values(), ...constants.map(([, c]) => c)].map(
      ({ value }) => value.id,
    ),
  );
  const loaderData = new Set(
    [...[...scope.inputs.values()].filter(({ role }) => role === "data"), ...constants.map(([, c]) => c)].map(
      ({ value }) => value.id,
    ),
  );
  const isLoaderData = (value: Value): boolean => loaderData.has(value.id);

  const forwardOutputs: NamedValue[] = [];
  for (const [name, value] of scope.outputs) {
    forwardOutputs.push([name, value]);
    values.set(name, value, "borderOutput");
  }
  if (scope.reported) {
    forwardOutputs.push(["loss", scope.reported]);
    values.set("loss", scope.reported, "loss");
  }
  const forwardNodes = g.nodes.length;

  const backwardOutputs = differentiateLayer(scope, values, given);
  const saved = savedFor(backwardOutputs, (node) => node.id < forwardNodes, isLoaderData);
  const shared = { nameOf: values.nameOf, isLoaderData, lowering };
  const forwardPass: Pass = {
    ...shared,
    name: `${kind}.forward`,
    given,
    outputs: [
      ...forwardOutputs,
      ...saved
        .filter((value) => !forwardOutputs.some(([, output]) => output.id === value.id))
        .map((value): NamedValue => [values.nameOf(value), value]),
    ],
  };
  const forward = cutPass(forwardPass);
  const backward = cutPass({
    ...shared,
    name: `${kind}.backward`,
    given: new Set([...given, ...saved.map((value) => value.id)]),
    outputs: backwardOutputs,
  });
  const read = new Set(backward.flatMap((step) => (step.op === "run" ? step.inputs : [step.input])));
  const borderInputs = [...scope.inputs]
    .filter(([, { role }]) => role === "borderInput")
    .map(([name]) => name);
  return {
    kind,
    values: values.record,
    parameters: [...scope.parameters.values()].map(({ declaration }) => declaration),
    constants: constants.map(([, { constant }]) => constant),
    borderInputs,
    borderOutputs: [...scope.outputs.keys()],
    saved: [...borderInputs.filter((name) => read.has(name)), ...saved.map(values.nameOf)],
    forward,
    backward,
  };
}

/** Adds the backward nodes and the inputs they start from; returns the gradients of border inputs and parameters. */
function differentiateLayer(scope: LayerScope, values: Values, given: Set<number>): readonly NamedValue[] {
  const { g } = scope;
  const seeds: Seed[] = [];
  for (const [name, value] of scope.outputs) {
    const gradient = g.input(value.dtype, value.shape);
    values.set(gradientName(name), gradient, "borderOutputGradient", name);
    given.add(gradient.id);
    seeds.push([value, gradient]);
  }
  if (scope.lossValue) seeds.push([scope.lossValue, g.filled(1, scope.lossValue)]);
  const borders = [...scope.inputs].filter(([, { role }]) => role === "borderInput");
  const parameters = [...scope.parameters];
  const wrt = [...borders, ...parameters].map(([, { value }]) => value);
  const gradients = differentiate(g, seeds, wrt);
  return [...borders, ...parameters].map(([name, { value }], i): NamedValue => {
    const isBorder = i < borders.length;
    // A layer may hand a value on without reading it, or be the last that is given it.
    const found = gradients[i] ?? (isBorder ? g.filled(0, value) : null);
    if (!found) throw new GraphError(`${scope.request.kind}: nothing depends on ${name}`);
    const dtype = isBorder ? value.dtype : parameterGradientDtype(value.dtype, g.narrow);
    const gradient = g.cast(found, dtype);
    values.set(gradientName(name), gradient, isBorder ? "borderInputGradient" : "parameterGradient", name);
    return [gradientName(name), gradient];
  });
}
