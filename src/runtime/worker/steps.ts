import type { NativeWorker } from "../../device/addon.js";
import type { Program } from "../../program/program.js";
import type { EvaluationFeed, EvaluationShare, FromWorker, ProcessMemory } from "../wire.js";
import type { Feeder, StepInputs } from "./feeder.js";
import { processMemory } from "./process-memory.js";

/** A Program that is loaded, and how far its steps have come. */
export interface Loaded {
  readonly program: Program;
  readonly feeder: Feeder | null;
  readonly lastStep: number;
  /** Where the next Program takes over; the last step where none does. */
  readonly endStep: number;
  readonly evaluation: EvaluationFeed | null;
  nextStep: number;
  granted: number;
  /** Inputs of the next step, read while the step before computes. */
  prepared: Promise<StepInputs> | null;
  /** The next step where it has been asked for already, so that the device need not wait for JavaScript in between. */
  begun: Promise<StepOutcome> | null;
}

/** What a step left, as soon as it has ended. */
interface StepOutcome {
  readonly times: Awaited<ReturnType<NativeWorker["step"]>>;
  readonly shares: Awaited<ReturnType<typeof readShares>>;
  readonly clip: Float32Array | null;
  readonly learningRate: number;
}

let lastEnd = 0;

/** Runs the next step and tells what it left. */
export async function runStep(
  native: NativeWorker,
  loaded: Loaded,
  send: (message: FromWorker) => void,
): Promise<void> {
  const { program, feeder } = loaded;
  const step = loaded.nextStep;
  const start = lastEnd > 0 && step > 0 ? lastEnd : performance.now();
  let running = loaded.begun;
  if (!running) {
    const inputs = feeder ? await (loaded.prepared ?? feeder.prepare(step)) : null;
    running = beginStep(native, program, inputs);
  }
  loaded.prepared = null;
  loaded.begun = null;
  // Inputs that are there too late are for the next call.
  let ended = false;
  if (feeder && step + 1 < loaded.endStep) {
    loaded.prepared = feeder.prepare(step + 1);
    loaded.prepared.then(
      (inputs) => {
        const goesOn = step + 1 < loaded.granted && !isDue(loaded, step + 1);
        if (ended || !goesOn) return;
        loaded.begun = beginStep(native, program, inputs);
        loaded.begun.catch(() => {}); // told by the step itself
      },
      () => {}, // told when the step that needs it asks for it
    );
  }
  const { times, shares, clip, learningRate } = await running;
  ended = true;
  loaded.nextStep = step + 1;
  const wallMs = performance.now() - start;
  const evaluation = isDue(loaded, loaded.nextStep) ? await evaluate(native, loaded) : null;
  lastEnd = performance.now();
  send({
    kind: "stepped",
    step,
    losses: shares.losses,
    gradientNorm: clip?.[1] ?? 0,
    learningRate,
    stepMs: times.stepMs,
    wallMs,
    instructionsMs: times.instructionsMs,
    sentBytes: times.sentBytes,
    arenaBytes: times.arenaBytes,
    onnxRuntimeBytes: times.onnxRuntimeBytes,
    graphBytes: times.graphBytes,
    memory: times.deviceBytes > 0 ? deviceMemory(times.deviceBytes) : processMemory(),
    evaluation,
  });
}

/** Asks for a step and what it leaves, all at once: the addon's thread does one after the other without a word in between. */
async function beginStep(
  native: NativeWorker,
  program: Program,
  inputs: StepInputs | null,
): Promise<StepOutcome> {
  const writes = (inputs?.writes ?? []).map((write) => native.write(write.tensor, write.bytes));
  const [times, shares, clip] = await Promise.all([
    native.step(),
    readShares(native, program),
    readFloats(native, program.io.clip),
    ...writes,
  ]);
  return { times, shares, clip, learningRate: inputs?.learningRate ?? 0 };
}

/** Whether held-out samples are looked at after so many steps. */
function isDue({ evaluation, lastStep }: Loaded, steps: number): boolean {
  return evaluation !== null && (steps === lastStep || steps % evaluation.every === 0);
}

/** Runs all held-out samples through the Program with an optimizer that changes nothing. */
export async function evaluate(native: NativeWorker, loaded: Loaded): Promise<EvaluationShare> {
  const { program, feeder, evaluation } = loaded;
  const { globalBatch } = program.plan;
  const samples = evaluation!.samples;
  const sum = { loss: 0, accuracy: 0 };
  let counted = false;
  for (let batch = 0; batch * globalBatch < samples; batch++) {
    const { writes } = await feeder!.prepareEvaluation(batch);
    await Promise.all(writes.map((write) => native.write(write.tensor, write.bytes)));
    await native.step();
    const { losses, right } = await readShares(native, program);
    for (const loss of losses) sum.loss += loss;
    for (const share of right) sum.accuracy += share;
    counted ||= right.length > 0;
  }
  // A step's shares are means over a whole batch; the last one may be filled up with samples that do not count.
  const mean = (total: number): number => (total * globalBatch) / samples;
  return { loss: mean(sum.loss), accuracy: counted ? mean(sum.accuracy) : null };
}

/** On a device the memory that counts is the device's: allocated at load, and the same ever after. */
function deviceMemory(bytes: number): ProcessMemory {
  return { residentBytes: bytes, peakBytes: bytes, sharedBytes: 0 };
}

/** What the head left for each micro-batch: its share of the loss, and of the right answers where it counts them. */
async function readShares(
  native: NativeWorker,
  { io, plan }: Program,
): Promise<{ readonly losses: Float32Array; readonly right: Float32Array }> {
  const all = (await readFloats(native, io.loss)) ?? new Float32Array(0);
  const each = all.length / plan.microBatches;
  const ofPlace = (place: number): Float32Array => all.filter((_, i) => i % each === place);
  return { losses: ofPlace(0), right: ofPlace(1) };
}

async function readFloats(native: NativeWorker, tensor: number): Promise<Float32Array | null> {
  if (tensor < 0) return null;
  const bytes = await native.read(tensor);
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
}
