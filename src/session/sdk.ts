import { existsSync } from "node:fs";
import { join } from "node:path";
import { GalvatronError } from "../base/errors.js";
import type { Cluster } from "../cluster/cluster.js";
import { modelNames, modelSpec } from "../families/registry.js";
import type { ModelOptions } from "../model/model-options.js";
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

/**
 * The machine to train on: this one.
 *
 * @throws GalvatronError ARGUMENT_INVALID, DEVICE_UNAVAILABLE
 */
export function cluster(options: ClusterOptions = {}): ClusterHandle {
  return clusterIn(currentSession(), options);
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

/** {@link cluster} within a session of one's own. */
export function clusterIn(session: Session, options: ClusterOptions = {}): ClusterHandle {
  const { ranks } = options;
  if (ranks !== undefined && (!Number.isSafeInteger(ranks) || ranks < 1 || ranks > 64))
    throw new GalvatronError("ARGUMENT_INVALID", `Expected 1 to 64 ranks on one host, got ${ranks}.`, {
      ranks,
    });
  return new ClusterHandle(session, ownMachine(options.device, ranks));
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
