import type { NamedValue } from "./emit-onnx.js";
import { graphId } from "./graph-id.js";
import type { GraphPort } from "./graph-ref.js";
import { type CollectiveOp, type GraphNode, unshaped, type Value } from "./ir.js";
import type { LayerStep } from "./layer-graphs.js";
import { type Lowering, lowerToOnnx } from "./lower.js";
import { OP_DEFINITIONS } from "./op-definitions.js";
import { GraphError } from "./ops/op-definition.js";

/** Ops at which a graph is cut; `CopyToGroup` is an identity in its own direction. */
const STEP_OPS: Readonly<
  Partial<Record<CollectiveOp, "allGather" | "reduceScatter" | "allReduce" | "allToAll">>
> = {
  AllGather: "allGather",
  ReduceScatter: "reduceScatter",
  AllReduce: "allReduce",
  AllToAll: "allToAll",
};

function stepOp(node: GraphNode): "allGather" | "reduceScatter" | "allReduce" | "allToAll" | undefined {
  return STEP_OPS[node.op as CollectiveOp];
}

/**
 * What a collective reads: it takes pieces of a buffer one after another and sees no shape, so that a reshape before it
 * would only copy.
 */
function readBy(collective: GraphNode): Value {
  return unshaped(collective.inputs[0]!);
}

/** Making this node's outputs again is as good as keeping them: it moves data, or computes on loader data only. */
function isCheap(node: GraphNode, isLoaderData: (value: Value) => boolean): boolean {
  if (stepOp(node)) return false;
  if (OP_DEFINITIONS[node.op].movesOnly || node.op === "CopyToGroup") return true;
  return node.inputs.every(
    (input) =>
      !input ||
      (input.node ? isCheap(input.node, isLoaderData) && fromData(input, isLoaderData) : isLoaderData(input)),
  );
}

function fromData(value: Value, isLoaderData: (value: Value) => boolean): boolean {
  if (!value.node) return isLoaderData(value);
  return value.node.inputs.every((input) => !input || fromData(input, isLoaderData));
}

/** One pass (forward or backward) to be cut. */
export interface Pass {
  readonly name: string;
  /** What the pass must make, with the name under which steps know it. */
  readonly outputs: readonly NamedValue[];
  /** Values that stand in buffers when the pass starts: inputs, and what an earlier pass saved. */
  readonly given: ReadonlySet<number>;
  readonly nameOf: (value: Value) => string;
  readonly isLoaderData: (value: Value) => boolean;
  readonly lowering: Lowering;
}

/** Nodes that the outputs need, in order, walking back to given values. */
function liveNodes(pass: Pass): readonly GraphNode[] {
  const live = new Map<number, GraphNode>();
  const visit = (value: Value): void => {
    if (pass.given.has(value.id)) return;
    if (!value.node) throw new GraphError(`${pass.name}: an input is read that is not given`);
    if (live.has(value.node.id)) return;
    live.set(value.node.id, value.node);
    for (const input of value.node.inputs) if (input) visit(input);
  };
  for (const [, value] of pass.outputs) visit(value);
  return [...live.values()].sort((a, b) => a.id - b.id);
}

/** Number of collectives that lie before each value on its longest way. */
function levelsOf(pass: Pass, nodes: readonly GraphNode[]): ReadonlyMap<number, number> {
  const levels = new Map<number, number>();
  for (const node of nodes) {
    const before = node.inputs.map((input) => (input ? (levels.get(input.id) ?? 0) : 0));
    const level = Math.max(0, ...before) + (stepOp(node) ? 1 : 0);
    for (const output of node.outputs) if (!pass.given.has(output.id)) levels.set(output.id, level);
  }
  return levels;
}

/** One collective-free stretch of a pass. */
interface Segment {
  readonly nodes: readonly GraphNode[];
  readonly inputs: readonly Value[];
}

/**
 * The nodes that make `wanted` at `level`. What an earlier segment made comes in through a buffer, except where it
 * is cheap to make again.
 */
function segmentFor(
  pass: Pass,
  wanted: readonly Value[],
  level: number,
  levels: ReadonlyMap<number, number>,
): Segment {
  const nodes = new Map<number, GraphNode>();
  const inputs = new Map<number, Value>();
  const visit = (value: Value): void => {
    const node = value.node;
    const made = levels.get(value.id) ?? 0;
    const comesIn =
      pass.given.has(value.id) ||
      !node ||
      stepOp(node) !== undefined ||
      (made < level && !isCheap(node, pass.isLoaderData));
    if (comesIn) {
      inputs.set(value.id, value);
      return;
    }
    if (nodes.has(node.id)) return;
    nodes.set(node.id, node);
    for (const input of node.inputs) if (input) visit(input);
  };
  for (const value of wanted) visit(value);
  return {
    nodes: [...nodes.values()].sort((a, b) => a.id - b.id),
    inputs: [...inputs.values()].sort((a, b) => a.id - b.id),
  };
}

function port(name: string, value: Value): GraphPort {
  return { name, dtype: value.dtype, shape: value.shape };
}

function runStep(pass: Pass, index: number, segment: Segment, outputs: readonly NamedValue[]): LayerStep {
  const name = `${pass.name}.${index}`;
  const inputs = segment.inputs.map((value): NamedValue => [pass.nameOf(value), value]);
  const bytes = lowerToOnnx(name, segment.nodes, inputs, outputs, pass.lowering);
  const flops = segment.nodes.reduce((sum, node) => sum + (OP_DEFINITIONS[node.op].flops?.(node) ?? 0), 0);
  return {
    op: "run",
    graph: {
      id: graphId(bytes),
      name,
      inputs: inputs.map(([portName, value]) => port(portName, value)),
      outputs: outputs.map(([portName, value]) => port(portName, value)),
      flops,
    },
    bytes,
    inputs: inputs.map(([portName]) => portName),
    outputs: outputs.map(([portName]) => portName),
  };
}

/**
 * Cuts a pass at its collectives: segment graphs and collectives in the order of execution. A node runs in the
 * earliest segment that its inputs allow, so that all collectives of one depth can be issued together.
 */
export function cutPass(pass: Pass): readonly LayerStep[] {
  const nodes = liveNodes(pass);
  const levels = levelsOf(pass, nodes);
  const collectives = nodes.filter((node) => stepOp(node) !== undefined);
  const levelOf = (value: Value): number => levels.get(value.id) ?? 0;
  const depth = Math.max(0, ...pass.outputs.map(([, value]) => levelOf(value)), ...levels.values());

  // What each segment must leave behind, under which names. Going from the last segment to the first, the inputs
  // of a later one become wishes to an earlier one.
  const wishes: NamedValue[][] = Array.from({ length: depth + 1 }, () => []);
  const wish = (name: string, value: Value): void => {
    const list = wishes[levelOf(value)]!;
    if (!list.some(([known]) => known === name)) list.push([name, value]);
  };
  const isBuffer = (value: Value): boolean =>
    pass.given.has(value.id) || (value.node !== null && stepOp(value.node) !== undefined);
  for (const [name, value] of pass.outputs) {
    if (!isBuffer(value) || pass.nameOf(value) !== name) wish(name, value);
  }
  for (const node of collectives) {
    const input = readBy(node);
    if (!isBuffer(input)) wish(pass.nameOf(input), input);
  }
  const segments: (Segment | null)[] = wishes.map(() => null);
  for (let level = depth; level >= 0; level--) {
    const wanted = wishes[level]!;
    if (wanted.length === 0) continue;
    const segment = segmentFor(
      pass,
      wanted.map(([, value]) => value),
      level,
      levels,
    );
    segments[level] = segment;
    for (const input of segment.inputs) if (!isBuffer(input)) wish(pass.nameOf(input), input);
  }

  const steps: LayerStep[] = [];
  for (let level = 0; level <= depth; level++) {
    const segment = segments[level];
    if (segment) steps.push(runStep(pass, level, segment, wishes[level]!));
    for (const node of collectives) {
      if (levelOf(node.outputs[0]!) !== level + 1) continue;
      steps.push({
        op: stepOp(node)!,
        reduction: node.attributes.reduction === "max" ? "max" : "sum",
        input: pass.nameOf(readBy(node)),
        output: pass.nameOf(node.outputs[0]!),
      });
    }
  }
  return steps;
}

/** Values of an earlier pass that this pass must be given: those that are not cheap to make again. */
export function savedFor(
  outputs: readonly NamedValue[],
  isEarlier: (node: GraphNode) => boolean,
  isLoaderData: (value: Value) => boolean,
): readonly Value[] {
  const saved = new Map<number, Value>();
  const seen = new Set<number>();
  const visit = (value: Value): void => {
    if (!value.node || seen.has(value.id)) return;
    seen.add(value.id);
    if (isEarlier(value.node) && !isCheap(value.node, isLoaderData)) {
      saved.set(value.id, value);
      return;
    }
    for (const input of value.node.inputs) if (input) visit(input);
  };
  for (const [, value] of outputs) visit(value);
  return [...saved.values()].sort((a, b) => a.id - b.id);
}
