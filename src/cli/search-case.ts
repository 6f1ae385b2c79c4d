import { readFileSync } from "node:fs";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { parseJson } from "../ancestor/checked-json.js";
import { type CaseResult, type CaseSearch, runCase } from "../ancestor/run-case.js";
import { GalvatronError } from "../base/errors.js";

export interface SearchCaseOptions {
  /** A case file: the ancestor's options, layer types and profile paths as JSON. */
  readonly file: string;
  /** Folder below which the case's profiles lie. */
  readonly inputs: string;
  /** `even` when left out: the ancestor's own restrictions. */
  readonly which?: CaseSearch;
}

/**
 * Searches one case of the ancestor under its cost model `galvatron3`.
 * @throws GalvatronError FILE_UNREADABLE, ARGUMENT_INVALID, PROFILE_INVALID, PROFILE_INCOMPLETE
 */
export async function searchCase(options: SearchCaseOptions): Promise<CaseResult> {
  const caseJson = parseJson(readText(options.file), options.file, "ARGUMENT_INVALID");
  return runCase(
    caseJson,
    (path) => readText(join(options.inputs, path)),
    () => performance.now(),
    options.which ?? "even",
  );
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    throw new GalvatronError(
      "FILE_UNREADABLE",
      `${path} cannot be read. Check the path.`,
      { path },
      { cause },
    );
  }
}
