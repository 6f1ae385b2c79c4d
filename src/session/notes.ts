import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { basename, relative } from "node:path";
import { canonical } from "../base/canonical-json.js";
import { noteProvenance } from "../base/provenance.js";
import type { ModelSpec } from "../model/model-spec.js";
import type { Provenance } from "../model/plan-json.js";
import type { Plan } from "../plan/plan.js";

import type { CheckpointManifest } from "../runtime/checkpoint/manifest-json.js";
import type { DataFile } from "../runtime/data/dataset.js";
import type { FoundPlan } from "./find-plan.js";
import { profileVersions } from "./session.js";

/** Data larger than this is noted by its files' names and sizes: reading it all would take longer than training. */
const HASHED_BYTES = 256 * 2 ** 20;

function sha256(...parts: readonly (string | Uint8Array)[]): string {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return hash.digest("hex");
}

export function noteProfile(name: string, bytes: Uint8Array): void {
  noteProvenance({ kind: "profile", name, value: sha256(bytes) });
}

/** What a training rests on: model, plan, data and seed. */
export function noteTraining(
  model: ModelSpec,
  plan: Plan,
  files: readonly DataFile[],
  seed: number,
  folder: string,
): void {
  noteProvenance({ kind: "model", name: model.name, value: sha256(canonical(model)) });
  noteProvenance({ kind: "plan", name: model.name, value: sha256(canonical(plan)) });
  noteProvenance({ kind: "seed", name: "training", value: String(seed) });
  if (files.length === 0) return;
  const totalBytes = files.reduce((sum, file) => sum + file.sizeBytes, 0);
  const names = files.map(({ path, sizeBytes }) => `${relative(folder, path)} ${sizeBytes}\n`);
  const contents = totalBytes <= HASHED_BYTES ? files.map(({ path }) => readFileSync(path)) : [];
  noteProvenance({
    kind: "data",
    name: `${files.length} file(s), ${totalBytes} bytes`,
    value: sha256(...names, ...contents),
  });
}

/** The checkpoint that a training goes on from; its manifest holds the checksums of all its files. */
export function noteCheckpoint(path: string, manifest: CheckpointManifest): void {
  noteProvenance({ kind: "checkpoint", name: basename(path), value: sha256(canonical(manifest)) });
}

/** Hashes of what a plan was made from. */
export function planProvenance(found: FoundPlan): Provenance {
  return {
    model: sha256(canonical(found.model)),
    modelProfile: sha256(canonical(found.modelProfile)),
    hardware: sha256(canonical(found.machine.hardware)),
    version: String(profileVersions()["galvatron"]),
  };
}
