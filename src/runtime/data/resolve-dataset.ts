import { accessSync, constants, statSync } from "node:fs";
import { GalvatronError } from "../../base/errors.js";
import type { ModelSpec } from "../../model/model-spec.js";
import type { DataDescription } from "./data-description.js";
import type { DataFile, Dataset } from "./dataset.js";
import { filesOf } from "./glob.js";

/**
 * Looks at the files of a description and numbers their samples for a model. Reads no content.
 *
 * @param folder - that relative paths start from
 * @throws GalvatronError FILE_UNREADABLE, DATA_INVALID
 */
export function resolveDataset(
  data: DataDescription,
  model: Pick<ModelSpec, "name" | "sequence" | "vocabulary">,
  seed: number,
  folder: string,
): Dataset {
  const { sequence, vocabulary } = model;
  if (data.format === "synthetic") return { format: "synthetic", vocabulary, sequence, seed };
  if (vocabulary < 256)
    throw new GalvatronError(
      "DATA_INVALID",
      `Byte-level text needs a vocabulary of at least 256; ${model.name} has ${vocabulary}. Give the model { vocabulary: 256 }.`,
      { vocabulary },
    );
  const paths = [...new Set(data.paths.flatMap((path) => filesOf(path, folder)))];
  const files = paths.map(describe);
  const totalBytes = files.reduce((sum, file) => sum + file.sizeBytes, 0);
  const samples = Math.floor((totalBytes - 1) / sequence);
  if (samples < 1)
    throw new GalvatronError(
      "DATA_INVALID",
      `${files.length} file(s) hold ${totalBytes} bytes; one sample of ${model.name} needs ${sequence + 1}. Give more text or a shorter sequence.`,
      { totalBytes, sequence },
    );
  return { format: "text", files, totalBytes, shuffle: data.shuffle, sequence, samples, seed };
}

function describe(path: string): DataFile {
  try {
    accessSync(path, constants.R_OK);
    return { path, sizeBytes: statSync(path).size };
  } catch (cause) {
    throw new GalvatronError("FILE_UNREADABLE", `Cannot read ${path}.`, { path }, { cause });
  }
}
