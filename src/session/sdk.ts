import { existsSync } from "node:fs";
import { join } from "node:path";
import { GalvatronError } from "../base/errors.js";
import type { Cluster } from "../cluster/cluster.js";
import { presetHardware } from "../cluster/presets.js";
import { modelNames, modelSpec } from "../families/registry.js";
import type { ModelOptions } from "../model/model-options.js";
import { AncestorHandle, ancestorFiles } from "./ancestor-handle.js";
import { ClusterHandle } from "./cluster-handle.js";
import { ModelHandle } from "./model-handle.js";
import { ownMachine } from "./own-machine.js";
import { newSession, type Session } from "./session.js";
import { inFolder, modelFrom } from "./weights.js";

/** The session of `cluster()` and `model()`: made when first needed, so that it finds the notebook it runs in. */
let current: Session | null = null;

function currentSession(): Session {
  current ??= newSession();
  return current;
}

/** Which part of this machine trains. */
export interface ClusterOptions {
  /** What computes; the GPUs of this machine when left out, and the host where there are none. */
  readonly device?: Cluster["device"];
  /** Worker processes. When left out: one per GPU; on the host one per core, two at least and four at most. */
  readonly ranks?: number;
}

/** How much of a preset machine. */
export interface PresetOptions {
  /** Machines of this kind, 1 to 1,024; 1 when left out. */
  readonly nodes?: number;
  /** GPUs of each node; all of them when left out. */
  readonly ranksPerNode?: number;
}

/**
 * The machine to train on: this one.
 *
 * @throws GalvatronError ARGUMENT_INVALID, DEVICE_UNAVAILABLE
 */
export function cluster(options?: ClusterOptions): ClusterHandle;
/**
 * A machine to plan for, by its published figures: "rtx-titan", "dgx-1-v100", "dgx-a100-40gb", "dgx-a100-80gb",
 * "hgx-h100", "hgx-h200" or "hgx-b200". It is profiled already, by estimates; nothing can be trained on it from here.
 *
 * @throws GalvatronError ARGUMENT_INVALID, naming the presets there are
 */
export function cluster(preset: string, options?: PresetOptions): ClusterHandle;
export function cluster(first: ClusterOptions | string = {}, options: PresetOptions = {}): ClusterHandle {
  if (typeof first !== "string") return clusterIn(currentSession(), first);
  return presetCluster(currentSession(), first, options);
}

/** A model in Hugging Face's files. */
export interface ModelSource {
  /** Folder with a `config.json`. Its weights are read where `train({ weights })` asks for them. */
  readonly from: string;
}

/**
 * A model by family or preset, with what differs from its defaults, or by a folder of a Hugging Face model.
 *
 * @param name - a family ("gpt", "llama", "bert", "t5", "vit", "swin"), a preset such as "gpt2-small", or
 * `{ from: "folder" }`; a path with a `config.json` does as well
 * @param options - sizes that differ; for a folder `sequence` above all, which no configuration fixes
 * @throws GalvatronError MODEL_UNKNOWN, MODEL_INVALID, FILE_UNREADABLE
 */
export function model(name: string | ModelSource, options: ModelOptions = {}): ModelHandle {
  return modelIn(currentSession(), name, options);
}

/**
 * A case of Galvatron 3, to be searched as Galvatron would, or to bring its profiles over.
 *
 * @param caseJson - its options nested as in its YAML, layer types, names of its profile files (docs/ancestor.md)
 * @param files - folder of those files, or the files by name
 * @throws GalvatronError ARGUMENT_INVALID, PROFILE_INVALID, FILE_UNREADABLE with the path of the wrong field
 */
export function galvatron3(
  caseJson: unknown,
  files: string | Readonly<Record<string, unknown>>,
): AncestorHandle {
  const session = currentSession();
  return new AncestorHandle(session, caseJson, ancestorFiles(files, session.folder));
}

/** {@link cluster} within a session of one's own. */
export function clusterIn(session: Session, options: ClusterOptions = {}): ClusterHandle {
  const { ranks } = options;
  if (ranks !== undefined && (!Number.isSafeInteger(ranks) || ranks < 1 || ranks > 64))
    throw new GalvatronError("ARGUMENT_INVALID", `Expected 1 to 64 ranks on one host, got ${ranks}.`, {
      ranks,
    });
  return new ClusterHandle(session, ownMachine(options.device, ranks));
}

/** {@link cluster} of a preset within a session of one's own. */
export function presetCluster(
  session: Session,
  name: string,
  { nodes, ranksPerNode }: PresetOptions = {},
): ClusterHandle {
  const hardware = presetHardware(name, nodes, ranksPerNode);
  return new ClusterHandle(session, { cluster: hardware.cluster, cores: 1, threadsPerRank: 1 }, hardware);
}

/** {@link model} within a session of one's own. */
export function modelIn(
  session: Session,
  name: string | ModelSource,
  options: ModelOptions = {},
): ModelHandle {
  if (typeof name !== "string") return new ModelHandle(session, modelFrom(session, name.from, options));
  const isFolder = !modelNames().includes(name) && existsSync(join(inFolder(session, name), "config.json"));
  const spec = isFolder ? modelFrom(session, name, options) : modelSpec(name, options);
  return new ModelHandle(session, spec);
}
