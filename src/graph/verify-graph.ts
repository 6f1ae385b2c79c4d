import type { GraphNode, Value } from "./ir.js";
import { elementCount, sameShape } from "./ir.js";
import type { LayerGraphs, LayerStep } from "./layer-graphs.js";
import { OP_DEFINITIONS } from "./op-definitions.js";

/**
 * Checks nodes from first principles: every input was made before it is read, and every output has the type that its
 * op gives it for these inputs.
 * @returns what is wrong, in words; empty when all is well
 */
export function verifyGraph(nodes: readonly GraphNode[], inputs: readonly Value[]): readonly string[] {
  const problems: string[] = [];
  const made = new Map<number, Value>(inputs.map((value) => [value.id, value]));
  for (const node of nodes) {
    const where = `${node.op} (node ${node.id})`;
    for (const [i, input] of node.inputs.entries()) {
      if (!input) continue;
      const source = made.get(input.id);
      if (!source) problems.push(`${where} reads input ${i} before it is made`);
      else if (!sameShape(source.shape, input.shape) || source.dtype !== input.dtype) {
        problems.push(
          `${where} reads ${input.dtype}[${input.shape}]; made was ${source.dtype}[${source.shape}]`,
        );
      }
    }
    const types = OP_DEFINITIONS[node.op].infer(node.inputs, node.attributes);
    if (types.length !== node.outputs.length) {
      problems.push(`${where} has ${node.outputs.length} outputs, not ${types.length}`);
    }
    for (const [i, output] of node.outputs.entries()) {
      const type = types[i];
      if (type && (!sameShape(type.shape, output.shape) || type.dtype !== output.dtype)) {
        problems.push(
          `${where} output ${i} is ${output.dtype}[${output.shape}], not ${type.dtype}[${type.shape}]`,
        );
      }
      if (made.has(output.id)) problems.push(`${where} makes value ${output.id} again`);
      made.set(output.id, output);
    }
  }
  return problems;
}

function elementsAfter(op: Exclude<LayerStep["op"], "run">, elements: number, degree: number): number {
  if (op === "allGather") return elements * degree;
  return op === "reduceScatter" ? elements / degree : elements;
}

/**
 * Checks a cut layer: steps read only what stands in a buffer by then, ports have the types of their values,
 * collectives keep what they promise, and both passes make all that the layer declares.
 * @returns what is wrong, in words; empty when all is well
 */
export function verifyLayerGraphs(layer: LayerGraphs, tensorDegree: number): readonly string[] {
  const problems: string[] = [];
  const { values } = layer;
  const roles = (...wanted: readonly string[]): readonly string[] =>
    Object.keys(values).filter((name) => wanted.includes(values[name]!.role));
  const lasting = roles("parameter", "data", "constant");
  const run = (pass: "forward" | "backward", given: readonly string[]): ReadonlySet<string> => {
    const made = new Set(given);
    for (const [index, step] of layer[pass].entries()) {
      const where = `${layer.kind} ${pass} step ${index} (${step.op})`;
      for (const name of step.op === "run" ? step.inputs : [step.input]) {
        if (!made.has(name)) problems.push(`${where} reads ${name}, which is not there`);
      }
      problems.push(...stepProblems(layer, step, where, tensorDegree));
      for (const name of step.op === "run" ? step.outputs : [step.output]) made.add(name);
    }
    return made;
  };
  const after = run("forward", [...lasting, ...layer.borderInputs]);
  for (const name of [...layer.borderOutputs, ...layer.saved, ...roles("loss")]) {
    if (!after.has(name)) problems.push(`${layer.kind} forward does not make ${name}`);
  }
  const end = run("backward", [...lasting, ...layer.saved, ...roles("borderOutputGradient")]);
  for (const name of roles("parameterGradient", "borderInputGradient")) {
    if (!end.has(name)) problems.push(`${layer.kind} backward does not make ${name}`);
  }
  return problems;
}

function stepProblems(
  layer: LayerGraphs,
  step: LayerStep,
  where: string,
  tensorDegree: number,
): readonly string[] {
  const { values } = layer;
  if (step.op !== "run") {
    const [input, output] = [values[step.input], values[step.output]];
    if (!input || !output) return [`${where}: ${step.input} or ${step.output} is not declared`];
    // Pieces follow each other in memory, whatever their shape.
    const elements = elementCount(input.shape);
    const expected = elementsAfter(step.op, elements, tensorDegree);
    const divides = step.op !== "allToAll" || elements % tensorDegree === 0;
    return divides && expected === elementCount(output.shape) && input.dtype === output.dtype
      ? []
      : [`${where}: ${step.output} is ${output.dtype}[${output.shape}], not ${expected} of ${input.dtype}`];
  }
  const ports = [
    ...step.graph.inputs.map((port, i) => [port, step.inputs[i]] as const),
    ...step.graph.outputs.map((port, i) => [port, step.outputs[i]] as const),
  ];
  return ports.flatMap(([port, name]) => {
    const value = name === undefined ? undefined : values[name];
    if (!value) return [`${where}: ${name ?? port.name} is not declared`];
    return sameShape(value.shape, port.shape) && value.dtype === port.dtype
      ? []
      : [`${where}: port ${port.name} is [${port.shape}], its value [${value.shape}]`];
  });
}
