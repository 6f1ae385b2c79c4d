import type { HardwareProfile } from "../cluster/hardware-profile.js";
import type { ModelProfile } from "../model/model-profile.js";
import type { ModelSpec } from "../model/model-spec.js";
import type { Precision } from "../plan/plan.js";
import { readHardwareTable, writeHardwareTable } from "../profiler/hardware-table.js";
import { matmulGraph } from "../profiler/matmul-graph.js";
import { readModelTable, writeModelTable } from "../profiler/model-table.js";
import { profileHardware } from "../profiler/profile-hardware.js";
import { DEFAULT_SAMPLES, profileModel } from "../profiler/profile-model.js";
import { type ProfileKey, profilePath, readProfile, writeProfile } from "../profiler/profile-store.js";
import { openMachinePool } from "../runtime/coordinator/host-pool.js";
import type { Machine } from "../runtime/machine.js";
import { noteProfile } from "./notes.js";
import { profileVersions, type Session } from "./session.js";

/** A profile, where it is kept, and whether it was measured now or before. */
export interface StoredProfile<T> {
  readonly profile: T;
  readonly path: string;
  readonly fresh: boolean;
}

/** The machine's profile: from disk where its machine and versions are the same, else measured and kept. */
export async function hardwareProfile(
  session: Session,
  machine: Machine,
  again: boolean,
): Promise<StoredProfile<HardwareProfile>> {
  const path = profilePath(session.projectFolder, "hardware", {
    ...machineKey(machine),
    ...profileVersions(),
  });
  const stored = again ? null : readProfile(path);
  if (stored) {
    noteProfile("hardware", stored);
    return { profile: readHardwareTable(stored), path, fresh: false };
  }
  if (!again) session.reporter.notice("This machine is not profiled yet: profiling it first.");
  const bar = session.reporter.progress("Profiling this machine");
  const pool = await openMachinePool(machine);
  try {
    const profile = await profileHardware(pool, machine.cluster, matmulGraph, bar.update);
    const bytes = writeHardwareTable(profile);
    writeProfile(path, bytes);
    noteProfile("hardware", bytes);
    return { profile, path, fresh: true };
  } finally {
    bar.end();
    await pool.close();
  }
}

/** A model's profile on a machine: from disk where model, machine and versions are the same, else measured. */
export async function modelProfile(
  session: Session,
  machine: Machine,
  model: ModelSpec,
  again: boolean,
  precision: Precision = "float32",
): Promise<StoredProfile<ModelProfile>> {
  const key: ProfileKey = {
    ...machineKey(machine),
    ...profileVersions(),
    // Layers alike cost alike: a model of another depth shares the profile.
    model: { ...model, name: "", layers: [...new Set(model.layers)] },
    samples: DEFAULT_SAMPLES,
    ...(precision !== "float32" && { precision }),
  };
  const path = profilePath(session.projectFolder, "model", key);
  const stored = again ? null : readProfile(path);
  if (stored) {
    noteProfile(model.name, stored);
    return { profile: { ...readModelTable(stored), model }, path, fresh: false };
  }
  if (!again)
    session.reporter.notice(`${model.name} is not profiled yet on this machine: profiling it first.`);
  const bar = session.reporter.progress(`Profiling ${model.name}`);
  const pool = await openMachinePool(machine);
  try {
    const profile = await profileModel(pool, model, machine.cluster.deviceName, bar.update, {
      precision,
      memoryBytesPerRank: machine.cluster.memoryBytesPerRank,
    });
    const bytes = writeModelTable(profile);
    writeProfile(path, bytes);
    noteProfile(model.name, bytes);
    return { profile, path, fresh: true };
  } finally {
    bar.end();
    await pool.close();
  }
}

function machineKey(machine: Machine): ProfileKey {
  return { cluster: machine.cluster, cores: machine.cores, threadsPerRank: machine.threadsPerRank };
}
