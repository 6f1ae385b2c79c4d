import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { layerGraphs } from "../../src/families/layer-graphs.js";
import { familyOf } from "../../src/families/registry.js";
import {
  interleavedTensors,
  sameTensor,
  type TensorView,
  transposedTensors,
  viewShape,
} from "../../src/families/tensor-view.js";
import { viewRuns } from "../../src/families/view-runs.js";
import { elements, ONE_RANK } from "../graph/simulate-layer.js";
import { layerKinds, SMALL_MODELS } from "../graph/small-models.js";

/** Element of the file for an index of the parameter, by the definition. */
function fileElement(view: TensorView, index: readonly number[]): number {
  let at = view.offset;
  for (const [axis, levels] of view.axes.entries()) {
    let rest = index[axis]!;
    for (const { extent, stride } of [...levels].reverse()) {
      at += (rest % extent) * stride;
      rest = Math.floor(rest / extent);
    }
  }
  return at;
}

const small = fc.integer({ min: 1, max: 5 });
const views: fc.Arbitrary<TensorView> = fc.oneof(
  fc.tuple(small, small, small).map(([a, b, c]) => sameTensor("p", "t", [a, b, c], [a, b * c])),
  fc
    .tuple(small, small, small, fc.nat(2))
    .map(([a, b, _, part]) => transposedTensors("p", "t", [a, b], part, 3)[0]!),
  fc
    .tuple(small, small, small, fc.nat(2), fc.nat(1))
    .map(
      ([heads, headWidth, inputs, part, which]) =>
        interleavedTensors("p", "t", { heads, headWidth, inputs }, part, 3)[which]!,
    ),
);

describe("viewRuns", () => {
  it("visits each element of any block once, where the view says", () => {
    fc.assert(
      fc.property(views, fc.array(fc.nat(1000), { minLength: 4, maxLength: 4 }), (view, draws) => {
        const shape = viewShape(view);
        const start = shape.map((extent, axis) => draws[axis]! % extent);
        const extent = shape.map((size, axis) => 1 + (draws[axis + 2]! % (size - start[axis]!)));
        const count = elements(extent);
        const found = new Array<number>(count).fill(-1);
        for (const run of viewRuns(view, { start, extent })) {
          expect(run.count).toBeGreaterThan(0);
          for (let i = 0; i < run.count; i++) {
            const at = run.blockElement + i * run.blockStride;
            expect(found[at]).toBe(-1);
            found[at] = run.fileElement + i;
          }
        }
        const expected = found.map((_, at) => {
          let rest = at;
          const index = [...extent].reverse().map((size) => {
            const place = rest % size;
            rest = Math.floor(rest / size);
            return place;
          });
          return fileElement(
            view,
            index.reverse().map((place, axis) => place + start[axis]!),
          );
        });
        expect(found).toEqual(expected);
      }),
      { numRuns: 500, seed: 1 },
    );
  });

  it("reads whole tensors, and whole rows of them, in one run", () => {
    const view = sameTensor("p", "t", [8, 4, 4], [8, 16]);
    const whole = { fileElement: 0, blockElement: 0, blockStride: 1, count: 128 };
    expect([...viewRuns(view, { start: [0, 0], extent: [8, 16] })]).toEqual([whole]);
    const rows = [...viewRuns(view, { start: [2, 0], extent: [3, 16] })];
    expect(rows).toEqual([{ ...whole, fileElement: 32, count: 48 }]);
  });
});

describe("the tensors of every family", () => {
  it.each(SMALL_MODELS.map((model) => [model.family, model] as const))(
    "of %s are its parameters",
    (_, model) => {
      const shapes = new Map<string, readonly number[]>();
      const add = (owner: string, kind: string): void => {
        const request = {
          kind,
          strategy: ONE_RANK,
          samples: 1,
          precision: "float32",
          lossTokens: 1,
        } as const;
        for (const { name, fullShape, tiedTo } of layerGraphs(model, request).parameters)
          if (tiedTo === undefined) shapes.set(`${owner}.${name}`, fullShape);
      };
      add("embedding", "embedding");
      for (const [index, kind] of model.layers.entries()) add(`layers.${index}`, kind);
      add("head", "head");
      const { tensors } = familyOf(model.family).huggingFace;
      const seen = new Map(tensors(model).map((view) => [view.parameter, viewShape(view)]));
      expect(Object.fromEntries(seen)).toEqual(Object.fromEntries(shapes));
      expect(layerKinds(model).length).toBeGreaterThan(2);
      // Every element of every tensor belongs to one parameter.
      const sizes = new Map(tensors(model).map(({ tensor, shape }) => [tensor, elements(shape)]));
      const held = tensors(model).reduce((sum, view) => sum + elements(viewShape(view)), 0);
      expect(held).toBe([...sizes.values()].reduce((a, b) => a + b, 0));
    },
  );
});
