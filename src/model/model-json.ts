import { z } from "zod";
import type { LayerKind, ModelSpec } from "./model-spec.js";

const count = z.int().positive();
const size = z.number().nonnegative();

const kind = z.strictObject({
  name: z.string(),
  hidden: count,
  heads: count,
  keyValueHeads: count,
  feedForward: count,
  sequence: count,
  parameters: size,
  forwardFlops: size,
}) satisfies z.ZodType<LayerKind>;

/** Schema of a model as data: whole widths, and only kinds that are there. */
export const modelJson: z.ZodType<ModelSpec> = z
  .strictObject({
    family: z.string(),
    name: z.string(),
    sequence: count,
    vocabulary: count,
    kinds: z.record(z.string(), kind),
    layers: z.array(z.string()).min(1).max(100_000),
    embedding: z.strictObject({ parameters: size }),
    head: z.strictObject({ parameters: size, forwardFlops: size, tied: z.boolean() }),
    options: z.record(z.string(), z.union([z.number(), z.string(), z.boolean()])),
  })
  .superRefine((model, context) => {
    for (const [index, name] of model.layers.entries()) {
      if (Object.hasOwn(model.kinds, name)) continue;
      context.addIssue({ code: "custom", path: ["layers", index], message: `no kind is called "${name}"` });
      return;
    }
  });
