import { readFileSync } from "node:fs";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import type { AncestorCase, AncestorInputs } from "../ancestor/case.js";
import { readCase, readInputs } from "../ancestor/case-json.js";
import { fitProfile } from "../ancestor/fit-profile.js";
import { hardwareProfileOf, type UnmeasuredHardware } from "../ancestor/hardware-profile-of.js";
import { modelProfileOf } from "../ancestor/model-profile-of.js";
import { type CaseResult, type CaseSearch, runCase } from "../ancestor/run-case.js";
import {
  readStrategyConfig,
  type StrategyConfig,
  type StrategyFileContext,
  writeStrategyConfig,
} from "../ancestor/strategy-json.js";
import { GalvatronError } from "../base/errors.js";
import { BYTES_PER_GB } from "../base/units.js";
import type { Cluster } from "../cluster/cluster.js";
import { htmlTable, textTable } from "../display/html-table.js";
import { DISPLAY, type Displayable, type MimeBundle } from "../display/mime.js";
import { modelSpec } from "../families/registry.js";
import type { ModelOptions } from "../model/model-options.js";
import { describePlan } from "../plan/describe-plan.js";
import type { Plan } from "../plan/plan.js";
import { ClusterHandle } from "./cluster-handle.js";
import { ModelHandle } from "./model-handle.js";
import type { Session } from "./session.js";

/** What the ancestor's search found under the ancestor's cost model; shows itself as a table. */
export interface AncestorResult extends CaseResult, Displayable {}

/** A case of Galvatron 3 with its profiles: search it as Galvatron would, or bring its measurements over to us. */
export class AncestorHandle {
  private readonly session: Session;
  private readonly search3: AncestorCase;
  private readonly inputs: AncestorInputs;
  private readonly caseJson: unknown;
  private readonly readText: (path: string) => string;

  /** @internal */
  constructor(session: Session, caseJson: unknown, readText: (path: string) => string) {
    this.session = session;
    this.caseJson = caseJson;
    this.readText = readText;
    this.search3 = readCase(caseJson, "case");
    this.inputs = readInputs(this.search3, readText);
  }

  /**
   * The best plan under Galvatron's own cost model.
   *
   * @param which - "even" (default): proven best of its space; "ancestor": what it would choose itself;
   * "unrestricted": also uneven divisions and every degree
   */
  search(which: CaseSearch = "even"): AncestorResult {
    const result = runCase(this.caseJson, this.readText, () => performance.now(), which);
    return { ...result, [DISPLAY]: (): MimeBundle => resultBundle(result) };
  }

  /**
   * Its measurements as a machine of ours, to plan for.
   *
   * @param unmeasured - what Galvatron never measures and our cost model needs
   */
  cluster(unmeasured: UnmeasuredHardware & { readonly deviceName?: string }): ClusterHandle {
    const { nodes, gpusPerNode, memoryGB } = this.search3;
    const cluster: Cluster = {
      name: "imported from Galvatron",
      device: "cuda",
      deviceName: unmeasured.deviceName ?? "GPU",
      nodes,
      ranksPerNode: gpusPerNode,
      memoryBytesPerRank: memoryGB * BYTES_PER_GB,
    };
    const hardware = hardwareProfileOf(this.inputs, cluster, unmeasured);
    return new ClusterHandle(this.session, { cluster, cores: 1, threadsPerRank: 1 }, hardware);
  }

  /**
   * A model of ours with its measurements as the profile: ready to search on {@link cluster}.
   *
   * @param name - family or preset, as in `model()`; layer kinds and sequence must be those of the profile
   * @throws GalvatronError PROFILE_INCOMPLETE where they are not
   */
  model(name: string, options: ModelOptions = {}): ModelHandle {
    const spec = modelSpec(name, options);
    const precision = this.search3.precision === "fp32" ? "float32" : "bfloat16";
    const profile = modelProfileOf(fitProfile(this.search3, this.inputs), spec, precision, "GPU");
    return new ModelHandle(this.session, spec, profile);
  }
}

function resultBundle(result: CaseResult): MimeBundle {
  const rows = [
    ["status", result.status],
    ["samples per second", Number(result.throughput.toPrecision(6))],
    ...(result.plan
      ? describePlan(result.plan).map((line, index) => [index === 0 ? "plan" : "", line] as const)
      : []),
    ["memory per stage, MB", result.memoryMBPerStage?.map((mb) => mb.toFixed(0)).join(", ") ?? ""],
    ["proven best of its space", result.proven ? "yes" : "no"],
    [
      "can be executed",
      result.executable ? "yes" : `no${result.reasons.map((reason) => `: ${reason}`).join("")}`,
    ],
  ] as const;
  const columns = ["Galvatron 3", ""];
  return { "text/html": htmlTable(columns, rows), "text/plain": textTable(columns, rows) };
}

/**
 * A reader of profile files.
 *
 * @param files - a folder, or the files themselves by name: parsed JSON or its text
 */
export function ancestorFiles(
  files: string | Readonly<Record<string, unknown>>,
  folder: string,
): (path: string) => string {
  return (path) => {
    if (typeof files === "string") {
      const at = join(folder, files, path);
      try {
        return readFileSync(at, "utf8");
      } catch (cause) {
        throw new GalvatronError(
          "FILE_UNREADABLE",
          `${at} cannot be read. Check the path.`,
          { path: at },
          { cause },
        );
      }
    }
    if (!Object.hasOwn(files, path))
      throw new GalvatronError(
        "FILE_UNREADABLE",
        `No file is called ${path}; there are: ${Object.keys(files).join(", ")}.`,
        { path },
      );
    const file = files[path];
    return typeof file === "string" ? file : JSON.stringify(file);
  };
}

/**
 * A `galvatron_config_*.json` of any generation as a plan.
 *
 * @param config - the parsed file
 * @param options - what the file does not say: precision (bfloat16 when left out), and ranks before 3.0
 * @throws GalvatronError PLAN_INVALID with the path of what is wrong or cannot be said
 */
export function readGalvatronPlan(config: unknown, options: StrategyFileContext = {}): Plan {
  return readStrategyConfig(config, "galvatron_config", options);
}

/**
 * A plan as the content of a `galvatron_config_*.json`.
 * @throws GalvatronError PLAN_INVALID with the path of what its format cannot express
 */
export function writeGalvatronPlan(plan: Plan): StrategyConfig {
  return writeStrategyConfig(plan);
}
