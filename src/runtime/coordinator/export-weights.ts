import type { ModelSpec } from "../../model/model-spec.js";
import type { Program } from "../../program/program.js";
import { writtenBlocks } from "../../program/state-blocks.js";
import type { WeightDtype } from "../weights/float-formats.js";
import { makeWeightFiles } from "../weights/weight-folder.js";
import type { WorkerPool } from "./worker-pool.js";

/** Where a model's weights go, in Hugging Face's layout. */
export interface ExportJob {
  readonly folder: string;
  readonly model: ModelSpec;
  readonly dtype: WeightDtype;
  /** Most bytes of tensors in one file; 5 · 10^9 when left out. */
  readonly fileBytes?: number;
}

/**
 * Lets the ranks write the parameters that they hold now: every element by one rank, straight into its place.
 *
 * @throws GalvatronError FILE_UNWRITABLE
 */
export async function exportWeights(
  pool: WorkerPool,
  programs: readonly Program[],
  { folder, model, dtype, fileBytes }: ExportJob,
): Promise<void> {
  const files = await makeWeightFiles(folder, model, dtype, fileBytes);
  try {
    const byRank = writtenBlocks(programs);
    await Promise.all(
      byRank.map((written, rank) => {
        const blocks = written.filter(({ state }) => state === "parameter");
        const names = new Set(blocks.map(({ name }) => name));
        const views = files.views.filter(({ view }) => names.has(view.parameter));
        return pool.writeWeights(rank, { views, blocks });
      }),
    );
  } catch (error) {
    await files.discard();
    throw error;
  }
  await files.finish();
}
