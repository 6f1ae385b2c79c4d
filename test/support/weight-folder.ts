import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { encodeFloats, type WeightDtype } from "../../src/runtime/weights/float-formats.js";
import { safetensorsHeader } from "../../src/runtime/weights/safetensors-json.js";
import { weightsIndexText } from "../../src/runtime/weights/weights-index-json.js";
import { type Golden, goldenWeights } from "../graph/golden.js";

/** A folder as Hugging Face's `save_pretrained` makes one, in one file or in several with an index. */
export function writeGoldenFolder(
  folder: string,
  golden: Golden,
  { dtype = "F32", files = 1 }: { readonly dtype?: WeightDtype; readonly files?: number } = {},
): void {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "config.json"), JSON.stringify(golden.config));
  const weights = [...goldenWeights(golden)];
  const index: Record<string, string> = {};
  for (let file = 0; file < files; file++) {
    const own = weights.filter((_, at) => at % files === file);
    const { bytes } = safetensorsHeader(
      own.map(([name]) => ({ name, dtype, shape: golden.shapes[name]! })),
      { format: "pt" },
    );
    const name = files === 1 ? "model.safetensors" : `model-${file + 1}-of-${files}.safetensors`;
    for (const [tensor] of own) index[tensor] = name;
    writeFileSync(
      join(folder, name),
      Buffer.concat([bytes, ...own.map(([, values]) => encodeFloats(values, dtype))]),
    );
  }
  if (files > 1) writeFileSync(join(folder, "model.safetensors.index.json"), weightsIndexText(index, 0));
}
