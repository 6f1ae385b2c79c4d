import { createHash } from "node:crypto";
import type { Dtype } from "../../src/base/units.js";
import type { GraphRef } from "../../src/graph/graph-ref.js";
import type { LayerGraphs, LayerRequest, LayerStep, LayerValue } from "../../src/graph/layer-graphs.js";
import type { ModelSpec } from "../../src/model/model-spec.js";

/**
 * Layers that have the ports, collectives and parameters of a GPT's, and graphs of no content: for the structure of
 * programs (who waits for whom, what lies where), which does not depend on what a graph computes.
 */
export function fakeLayerGraphs(model: ModelSpec, options: { readonly tied?: boolean } = {}) {
  return (request: LayerRequest): LayerGraphs => {
    const { tensorDegree: t, tensorSplit } = request.strategy;
    const split = t > 1 && tensorSplit === "weights";
    const ulysses = t > 1 && tensorSplit === "sequence";
    const b = request.samples;
    const hidden = Object.values(model.kinds)[0]!.hidden;
    const S = model.sequence;
    const dtype: Dtype = request.precision === "bfloat16" ? "bfloat16" : "float32";
    const values: Record<string, LayerValue> = {};
    const add = (
      name: string,
      role: LayerValue["role"],
      shape: readonly number[],
      extra: { gradientOf?: string; dtype?: Dtype } = {},
    ): string => {
      values[name] = {
        dtype: extra.dtype ?? dtype,
        shape,
        role,
        ...(extra.gradientOf !== undefined && { gradientOf: extra.gradientOf }),
      };
      return name;
    };
    const border = [S / t, b, hidden];
    const full = [S, b, hidden];
    const parameters: LayerGraphs["parameters"][number][] = [];
    const parameter = (
      name: string,
      fullShape: readonly number[],
      cutAxis: number | null,
      decay: boolean,
      tiedTo?: string,
    ): string => {
      const cut = split && cutAxis !== null ? { axis: cutAxis, pieces: t } : null;
      const shape = fullShape.map((extent, axis) => (cut?.axis === axis ? Math.ceil(extent / t) : extent));
      parameters.push({
        name,
        fullShape,
        cut,
        decay,
        init: decay ? { kind: "normal", standardDeviation: 0.02 } : { kind: "ones" },
        ...(tiedTo !== undefined && { tiedTo }),
      });
      add(name, "parameter", shape);
      add(`d.${name}`, "parameterGradient", shape, { gradientOf: name });
      return name;
    };
    const run = (name: string, inputs: readonly string[], outputs: readonly string[]): LayerStep => {
      const port = (value: string) => ({
        name: value,
        dtype: values[value]!.dtype,
        shape: values[value]!.shape,
      });
      const ref: Omit<GraphRef, "id"> = {
        name: `${request.kind}.${name}`,
        inputs: inputs.map(port),
        outputs: outputs.map(port),
        flops: 1e6,
      };
      const bytes = Buffer.from(JSON.stringify(ref));
      const id = createHash("sha256").update(bytes).digest("hex");
      return { op: "run", graph: { id, ...ref }, bytes, inputs, outputs };
    };
    const collective = (
      op: "allGather" | "reduceScatter" | "allToAll",
      input: string,
      output: string,
    ): LayerStep => ({
      op,
      reduction: "sum",
      input,
      output,
    });
    const done = (
      rest: Pick<LayerGraphs, "borderInputs" | "borderOutputs" | "saved" | "forward" | "backward"> & {
        constants?: LayerGraphs["constants"];
      },
    ): LayerGraphs => ({ kind: request.kind, values, parameters, constants: [], ...rest });

    if (request.kind === "embedding") {
      add("tokens", "data", [S, b], { dtype: "int64" });
      add("offset", "constant", [1], { dtype: "int64" });
      const word = parameter("word.weight", [model.vocabulary, hidden], 0, true);
      const position = parameter("position.weight", [S, hidden], null, true);
      add("y", "borderOutput", border);
      add("d.y", "borderOutputGradient", border, { gradientOf: "y" });
      const constants = [
        {
          name: "offset",
          dtype: "int64" as const,
          shape: [1],
          perTensorRank: Array.from({ length: t }, (_, i) => [i]),
        },
      ];
      if (!split) {
        return done({
          constants,
          borderInputs: [],
          borderOutputs: ["y"],
          saved: [],
          forward: [run("lookup", ["tokens", "offset", word, position], ["y"])],
          backward: [run("backward", ["tokens", "offset", "d.y"], [`d.${word}`, `d.${position}`])],
        });
      }
      add("partial", "intermediate", full);
      add("d.partial", "intermediate", full);
      return done({
        constants,
        borderInputs: [],
        borderOutputs: ["y"],
        saved: [],
        forward: [
          run("lookup", ["tokens", "offset", word, position], ["partial"]),
          collective("reduceScatter", "partial", "y"),
        ],
        backward: [
          collective("allGather", "d.y", "d.partial"),
          run("backward", ["tokens", "offset", "d.partial"], [`d.${word}`, `d.${position}`]),
        ],
      });
    }
    add("x", "borderInput", border);
    add("d.x", "borderInputGradient", border, { gradientOf: "x" });
    if (request.kind === "head") {
      add("labels", "data", [split ? S : S / t, b], { dtype: "int64" });
      const norm = parameter("norm.weight", [hidden], null, false);
      const weight = parameter(
        "weight",
        [model.vocabulary, hidden],
        0,
        true,
        options.tied ? "word.weight" : undefined,
      );
      add("loss", "loss", [1], { dtype: "float32" });
      add("normed", "intermediate", border);
      if (!split) {
        return done({
          borderInputs: ["x"],
          borderOutputs: [],
          saved: ["x", "normed"],
          forward: [run("loss", ["x", "labels", norm, weight], ["normed", "loss"])],
          backward: [
            run("backward", ["x", "normed", "labels", norm, weight], ["d.x", `d.${norm}`, `d.${weight}`]),
          ],
        });
      }
      add("gathered", "intermediate", full);
      add("d.gathered", "intermediate", full);
      add("d.normed", "intermediate", border);
      return done({
        borderInputs: ["x"],
        borderOutputs: [],
        saved: ["x", "gathered"],
        forward: [
          run("norm", ["x", norm], ["normed"]),
          collective("allGather", "normed", "gathered"),
          run("loss", ["gathered", "labels", weight], ["loss"]),
        ],
        backward: [
          run("lossBackward", ["gathered", "labels", weight], ["d.gathered", `d.${weight}`]),
          collective("reduceScatter", "d.gathered", "d.normed"),
          run("normBackward", ["x", "d.normed", norm], ["d.x", `d.${norm}`]),
        ],
      });
    }
    add("y", "borderOutput", border);
    add("d.y", "borderOutputGradient", border, { gradientOf: "y" });
    const feedForward = model.kinds[request.kind]!.feedForward;
    const norm = parameter("norm.weight", [hidden], null, false);
    const up = parameter("up.weight", [hidden, feedForward], 1, true);
    const upBias = parameter("up.bias", [feedForward], 0, false);
    const down = parameter("down.weight", [feedForward, hidden], 0, true);
    const downBias = parameter("down.bias", [hidden], null, false);
    const all = [norm, up, upBias, down, downBias];
    if (!split && !ulysses) {
      add("inner", "intermediate", [S, b, feedForward]);
      return done({
        borderInputs: ["x"],
        borderOutputs: ["y"],
        saved: ["x", "inner"],
        forward: [run("forward", ["x", ...all], ["inner", "y"])],
        backward: [
          run("backward", ["x", "inner", "d.y", ...all], ["d.x", ...all.map((name) => `d.${name}`)]),
        ],
      });
    }
    const crossed = split ? full : border;
    const into = split ? "allGather" : "allToAll";
    const outOf = split ? "reduceScatter" : "allToAll";
    for (const name of ["normed", "out", "d.out", "d.normed"]) add(name, "intermediate", border);
    for (const name of ["wide", "partial", "d.wide", "d.partial"]) add(name, "intermediate", crossed);
    add("inner", "intermediate", [crossed[0]!, b, split ? feedForward / t : feedForward]);
    return done({
      borderInputs: ["x"],
      borderOutputs: ["y"],
      saved: ["x", "wide", "inner"],
      forward: [
        run("norm", ["x", norm], ["normed"]),
        collective(into, "normed", "wide"),
        run("mlp", ["wide", up, upBias, down], ["inner", "partial"]),
        collective(outOf, "partial", "out"),
        run("residual", ["x", "out", downBias], ["y"]),
      ],
      backward: [
        run("residualBackward", ["d.y"], ["d.out", `d.${downBias}`]),
        collective(into, "d.out", "d.partial"),
        run(
          "mlpBackward",
          ["wide", "inner", "d.partial", up, down],
          ["d.wide", `d.${up}`, `d.${upBias}`, `d.${down}`],
        ),
        collective(outOf, "d.wide", "d.normed"),
        run("normBackward", ["x", "d.y", "d.normed", norm], ["d.x", `d.${norm}`]),
      ],
    });
  };
}
