// Predictions that are frozen before their plans run, and what the plans then did.
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import path from "node:path";
import {
  breakdown,
  captured,
  closeWorkers,
  dist,
  gpus,
  machine,
  record,
  recordRows,
  state,
  today,
  train,
} from "./product.mjs";

const { describePlan } = dist("plan/describe-plan.js");
const { planByHand } = dist("session/find-plan.js");
const { costModel } = dist("cost/cost-model.js");
const { programDurations } = dist("program/program-durations.js");
const { simulate } = dist("program/simulate.js");

export const planText = (plan) => describePlan(plan).join(" / ");

/** Predictions of plans, hashed together with the profiles they rest on; a plan that cannot be predicted is told. */
export function freeze(model, plans, { hardware, hardwareHash, modelProfile, modelHash }) {
  const profile = { ...modelProfile, model };
  const frozen = plans.flatMap((plan) => {
    try {
      const found = planByHand({ model, modelProfile: profile, machine: { machine, hardware }, plan });
      const cost = costModel(model, profile, hardware);
      const simulated = simulate(found.lowered.programs, programDurations(cost), { overlap: cost.overlap });
      return [
        {
          lowered: found.lowered,
          prediction: {
            plan,
            text: planText(plan),
            stepMs: found.report.prediction.stepMs,
            simulatedMs: simulated.stepMs ?? null,
            memoryBytes: Math.max(...found.memoryBytesByRank),
          },
        },
      ];
    } catch (error) {
      console.log("not predicted:", planText(plan), String(error.message).slice(0, 300));
      return [];
    }
  });
  const hash = createHash("sha256")
    .update(JSON.stringify([hardwareHash, modelHash, frozen.map(({ prediction }) => prediction)]))
    .digest("hex")
    .slice(0, 16);
  return { frozen, hash };
}

/** Of one step, by rank: [start, end] of each instruction of the Program. */
export const instructionTimes = (step) =>
  step.map((rank) => Array.from(rank.instructionsMs, (ms) => fixed(ms, 3)));
const fixed = (value, digits) => Number(value.toFixed(digits));
const percent = (predicted, measured) => (100 * (predicted / measured - 1)).toFixed(1);

/** A device at its power limit swings about its lasting speed, once a second: so long is run, and the last two thirds count. */
const EXECUTED_MS = 4500;
const lasting = (values) => mean(values.slice(Math.max(3, Math.floor(values.length / 3))));

/** Trains some steps under one frozen plan, in workers of its own: what others have loaded is not its memory. */
export async function execute(model, { lowered, prediction }) {
  await closeWorkers();
  try {
    const steps = Math.min(90, Math.max(8, 3 + Math.ceil(EXECUTED_MS / prediction.stepMs)));
    const got = await train(model, prediction.plan, steps, { lowered });
    const row = {
      ...prediction,
      measuredMs: lasting(got.stepMs),
      wallMs: lasting(got.wallMs),
      measuredBytes: Math.max(...got.memoryBytes),
      memoryBytesByRank: got.memoryBytes,
      arenaBytes: got.arenaBytes,
      onnxRuntimeBytes: got.onnxRuntimeBytes,
      loadMs: got.loadMs,
      stepsMs: got.stepMs,
      captured: captured(),
      breakdown: breakdown(got.programs[0], got.last[0].instructionsMs),
      instructionsMs: instructionTimes(got.last),
    };
    console.log(
      `${row.text}: step ${row.stepMs.toFixed(1)} (simulated ${row.simulatedMs?.toFixed(1)}) measured ${row.measuredMs.toFixed(1)} ms (${percent(row.stepMs, row.measuredMs)} %, simulated ${percent(row.simulatedMs, row.measuredMs)} %); memory ${(row.memoryBytes / 2 ** 20).toFixed(0)} measured ${(row.measuredBytes / 2 ** 20).toFixed(0)} MB (${percent(row.memoryBytes, row.measuredBytes)} %), load ${(got.loadMs / 1e3).toFixed(1)} s`,
    );
    return row;
  } catch (error) {
    console.log(`FAIL ${prediction.text}: ${error.code ?? ""} ${String(error.message).slice(0, 400)}`);
    await closeWorkers();
    return { ...prediction, error: String(error.message).slice(0, 400) };
  }
}

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
/** Ranks from 0, equal values share the mean of theirs. */
function ranksOf(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return values.map((value) => (sorted.indexOf(value) + sorted.lastIndexOf(value)) / 2);
}
/** Spearman 1904. */
export function spearman(a, b) {
  const [x, y] = [ranksOf(a), ranksOf(b)];
  const [mx, my] = [mean(x), mean(y)];
  const cross = (p, mp, q, mq) => p.reduce((sum, value, i) => sum + (value - mp) * (q[i] - mq), 0);
  return cross(x, mx, y, my) / Math.sqrt(cross(x, mx, x, mx) * cross(y, my, y, my));
}

/** Adds rows to all that were executed in this state, and records the errors over all of them. */
export function recordErrors(part, rows, hash) {
  const own = rows
    .filter((row) => row.measuredMs)
    .map(({ text, stepMs, simulatedMs, measuredMs, memoryBytes, measuredBytes }) => {
      const device = `${gpus} x ${machine.cluster.deviceName}`;
      const times = { stepMs, simulatedMs, measuredMs };
      return { part, hash, device, date: today(), text, ...times, memoryBytes, measuredBytes };
    });
  // Renamed when whole: another part may be reading what there is.
  const at = path.join(state, `predictions-${part}.json`);
  writeFileSync(path.join(state, `writing-${part}.json`), JSON.stringify(own));
  renameSync(path.join(state, `writing-${part}.json`), at);
  recordRows(own);
  const now = readdirSync(state)
    .filter((file) => file.startsWith("predictions-"))
    .flatMap((file) => JSON.parse(readFileSync(path.join(state, file), "utf8")));
  if (now.length === 0) return;
  const error = (predicted, measured) =>
    now.filter((row) => row[predicted]).map((row) => Math.abs(row[predicted] / row[measured] - 1));
  const [time, simulated, memory] = [
    error("stepMs", "measuredMs"),
    error("simulatedMs", "measuredMs"),
    error("memoryBytes", "measuredBytes"),
  ];
  const device = [...new Set(now.map((row) => row.device))].sort().join(", ");
  const predictionsHash = [...new Set(now.map((row) => row.hash))].join(" ");
  record("step-time-error-mean", {
    ours: mean(time),
    worst: Math.max(...time),
    simulated: mean(simulated),
    plans: now.length,
    unit: "fraction",
    device,
    predictionsHash,
  });
  record("memory-error-mean", {
    ours: mean(memory),
    worst: Math.max(...memory),
    plans: now.length,
    unit: "fraction",
    device,
    predictionsHash,
  });
}
