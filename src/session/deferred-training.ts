import type { Training } from "../runtime/coordinator/train.js";

/** A training that starts once something else is ready: a handle for both. Stopped before, it never starts a step. */
export function deferredTraining(starting: Promise<Training>): Training {
  let training: Training | null = null;
  const asked: ((started: Training) => void)[] = [];
  const tell = (ask: (started: Training) => void): void => {
    if (training) ask(training);
    else asked.push(ask);
  };
  return {
    done: starting.then((started) => {
      training = started;
      for (const ask of asked.splice(0)) ask(started);
      return started.done;
    }),
    stop: (save) => tell((started) => started.stop(save)),
    pause: () => tell((started) => started.pause()),
    resume: () => tell((started) => started.resume()),
    checkpoints: () => training?.checkpoints() ?? [],
    pids: () => training?.pids() ?? [],
  };
}
