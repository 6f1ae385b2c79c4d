import type { OnProgress } from "../base/progress.js";
import type { Cluster } from "../cluster/cluster.js";
import type { HardwareProfile } from "../cluster/hardware-profile.js";
import type { WorkerPool } from "../runtime/coordinator/worker-pool.js";
import { groupDivisions, measureCollectives } from "./measure-collectives.js";
import { measureLaunch, measureOptimizer } from "./measure-local.js";
import { type MatmulGraphOf, measureMatmuls, measureOverlap, measureReserve } from "./measure-matmul.js";
import type { MeasureOptions } from "./measure-steps.js";

/** Collectives measured for every division of the ranks. */
const COLLECTIVES_PER_DIVISION = 5;
/** Quick, and often enough to meet a quiet moment. */
const DEFAULT_MEASURE: MeasureOptions = { warmup: 2, repeats: 5 };

/** Measures what a machine can do, through real Programs on its real worker processes. */
export async function profileHardware(
  pool: WorkerPool,
  cluster: Cluster,
  matmulGraph: MatmulGraphOf,
  onProgress: OnProgress,
  options: MeasureOptions = DEFAULT_MEASURE,
): Promise<HardwareProfile> {
  const total = 5 + COLLECTIVES_PER_DIVISION * groupDivisions(cluster.ranksPerNode).length;
  let done = 0;
  const next = (label: string): void => {
    onProgress({ label, done, total });
    done++;
  };
  next("matrix products");
  const reserve = await measureReserve(pool, matmulGraph);
  const matmuls = await measureMatmuls(pool, matmulGraph, options);
  const collectives = await measureCollectives(pool, options, next);
  next("overlap");
  const overlap = await measureOverlap(pool, matmulGraph, options);
  next("optimizer");
  const optimizerGBps = await measureOptimizer(pool, options);
  next("launches");
  const launchMs = await measureLaunch(pool, options);
  onProgress({ label: "hardware profile", done: total, total });
  return {
    cluster,
    source: "measured",
    matmuls,
    collectives,
    ...overlap,
    optimizerGBps,
    launchMs,
    ...reserve,
  };
}
