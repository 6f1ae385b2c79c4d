import { product } from "../../program/flat-layout.js";
import type { Program } from "../../program/program.js";
import { type WrittenBlock, wholeShapes, writtenBlocks } from "../../program/state-blocks.js";
import { safetensorsHeader } from "../weights/safetensors-json.js";
import type { StoredBlock } from "./manifest-json.js";
import type { ShardJob } from "./write-shard.js";

/** One rank's file of a checkpoint, before it is written. */
export interface Shard {
  readonly name: string;
  readonly header: Uint8Array;
  readonly sizeBytes: number;
  readonly parts: ShardJob["parts"];
  readonly blocks: readonly StoredBlock[];
}

/** Which file each rank writes, and what is in it: every element of every state once. By rank. */
export function planShards(programs: readonly Program[]): readonly Shard[] {
  const shapes = wholeShapes(programs);
  return writtenBlocks(programs).map((blocks, rank) => {
    const { bytes, header } = safetensorsHeader(
      blocks.map((block) => ({
        name: tensorName(block, shapes.get(block.name)!),
        dtype: "F32",
        shape: block.extent,
      })),
      { format: "galvatron-checkpoint" },
    );
    return {
      name: `rank-${digits(rank)}-of-${digits(programs.length)}.safetensors`,
      header: bytes,
      sizeBytes: header.fileBytes,
      parts: blocks.map(({ tensor, offset, extent }) => ({ tensor, offset, elements: product(extent) })),
      blocks: blocks.map(({ state, name, start, extent }, index) => ({
        state,
        name,
        start,
        extent,
        offsetBytes: header.entries[index]!.start,
      })),
    };
  });
}

/** "layers.3.norm.weight", and where it is a moment or a part of the whole: "layers.3.norm.weight.moment1[0:16]". */
function tensorName({ state, name, start, extent }: WrittenBlock, shape: readonly number[]): string {
  const own = state === "parameter" ? name : `${name}.${state}`;
  if (extent.every((size, axis) => size === shape[axis])) return own;
  return `${own}[${start.map((at, axis) => `${at}:${at + extent[axis]!}`).join(",")}]`;
}

function digits(value: number): string {
  return String(value).padStart(5, "0");
}
