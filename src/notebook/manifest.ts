import { createHash } from "node:crypto";
import type { Kernel, KernelMessage } from "@jupyterlab/services";
import type { Provenance } from "../base/provenance.js";
import type { CellRun } from "./execute-cells.js";
import type { Notebook } from "./notebook-json.js";
import type { Parameters } from "./parameters.js";

/** What one needs to know to trust, or repeat, an executed notebook. */
export interface Manifest {
  readonly notebook: { readonly file: string; readonly sourceSha256: string; readonly outputsSha256: string };
  readonly parameters: Parameters;
  readonly package: { readonly name: string; readonly version: string };
  readonly kernel: {
    /** "embedded", or the address of the server it ran on. */
    readonly place: string;
    readonly implementation: string;
    readonly version: string;
    readonly node: string;
    readonly platform: string;
  };
  /** Profiles, plans, data and seeds that the cells worked with. */
  readonly provenance: readonly Provenance[];
  readonly startedAt: string;
  readonly durationMs: number;
  readonly cells: readonly CellRun[];
}

/** What the kernel knows of itself and of what its cells worked with. */
export interface KernelRecord {
  readonly node: string;
  readonly platform: string;
  readonly provenance: readonly Provenance[];
}

/** Evaluated in the kernel: its ledger lies on the global object, whatever names the cells redeclared. */
const RECORD_EXPRESSION =
  'JSON.stringify({ node: process.version, platform: process.platform + "-" + process.arch, provenance: [...((globalThis as any)[Symbol.for("galvatron.provenance")]?.values() ?? [])] })';

const UNKNOWN_RECORD: KernelRecord = { node: "unknown", platform: "unknown", provenance: [] };

export async function askKernelRecord(kernel: Kernel.IKernelConnection): Promise<KernelRecord> {
  try {
    const future = kernel.requestExecute({
      code: "",
      silent: true,
      store_history: false,
      user_expressions: { record: RECORD_EXPRESSION },
    });
    const { content } = await future.done;
    const { user_expressions: results } = content as {
      user_expressions?: { record?: { data?: Record<string, string> } };
    };
    return readRecord(results?.record?.data?.["text/plain"]);
  } catch {
    return UNKNOWN_RECORD; // a kernel that died has nothing to tell; the cells say so
  }
}

/** The kernel shows the string as JavaScript would write it, in quotes. */
function readRecord(shown: string | undefined): KernelRecord {
  if (shown === undefined) return UNKNOWN_RECORD;
  const text = shown.replace(/^(['"`])([\s\S]*)\1$/, "$2").replace(/\\'/g, "'");
  try {
    const record = JSON.parse(text) as KernelRecord;
    const key = ({ kind, name }: Provenance): string => `${kind}:${name}`;
    return { ...record, provenance: [...record.provenance].sort((a, b) => (key(a) < key(b) ? -1 : 1)) };
  } catch {
    return UNKNOWN_RECORD;
  }
}

export interface ManifestParts {
  readonly file: string;
  readonly notebook: Notebook;
  readonly parameters: Parameters;
  readonly package: Manifest["package"];
  readonly place: string;
  readonly info: KernelMessage.IInfoReply;
  readonly record: KernelRecord;
  readonly startedAt: Date;
  readonly durationMs: number;
  readonly runs: readonly CellRun[];
}

export function manifestOf(parts: ManifestParts): Manifest {
  const { notebook, info, record } = parts;
  const sources = notebook.cells.map(({ kind, source }) => [kind, source]);
  const outputs = notebook.cells.map((cell) => (cell.kind === "code" ? cell.outputs : []));
  return {
    notebook: {
      file: parts.file,
      sourceSha256: sha256(JSON.stringify(sources)),
      outputsSha256: sha256(JSON.stringify(outputs)),
    },
    parameters: parts.parameters,
    package: parts.package,
    kernel: {
      place: parts.place,
      implementation: info.implementation,
      version: info.implementation_version,
      node: record.node,
      platform: record.platform,
    },
    provenance: record.provenance,
    startedAt: parts.startedAt.toISOString(),
    durationMs: parts.durationMs,
    cells: parts.runs,
  };
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
