import { z } from "zod";
import { GalvatronError } from "../../base/errors.js";

const indexJson = z.object({ weight_map: z.record(z.string(), z.string().regex(/^[\w-][\w.-]*$/)) });

/**
 * Files that hold the tensors of a model in several files, by tensor.
 * @throws GalvatronError CHECKPOINT_INVALID
 */
export function parseWeightsIndex(text: string, path: string): Readonly<Record<string, string>> {
  const invalid = (reason: string): GalvatronError =>
    new GalvatronError("CHECKPOINT_INVALID", `${path} is no index of weights: ${reason}.`, { path });
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw invalid("it is no JSON");
  }
  const parsed = indexJson.safeParse(value);
  if (parsed.success) return parsed.data.weight_map;
  const issue = parsed.error.issues[0]!;
  throw invalid(`${issue.path.join(".")}: ${issue.message}`);
}

/** Text of the index of several files. */
export function weightsIndexText(files: Readonly<Record<string, string>>, totalBytes: number): string {
  return `${JSON.stringify({ metadata: { total_size: totalBytes }, weight_map: files }, null, 2)}\n`;
}
