import type { ComputationProfile } from "./computation-json.js";
import type { AllReduceBandwidths, MessageSamples } from "./hardware-json.js";
import type { MemoryProfile } from "./memory-json.js";

/** One type of layer of a case. */
interface CaseLayer {
  readonly hidden: number;
  readonly sequence: number;
  readonly layers: number;
}

type ProfileMode = "static" | "batch" | "sequence";

/** A search of the ancestor as its options pose it, with its defaults filled in. */
export interface AncestorCase {
  readonly id: string;
  readonly layers: readonly CaseLayer[];
  readonly nodes: number;
  readonly gpusPerNode: number;
  readonly memoryGB: number;
  readonly defaultDataParallel: "ddp" | "zero2" | "zero3";
  readonly pipeline: "gpipe" | "pipedream_flush";
  readonly asyncGradReduce: boolean;
  readonly precision: "fp32" | "fp16" | "bf16";
  readonly sequenceParallel: boolean;
  readonly globalMemoryBuffer: boolean;
  readonly timeMode: ProfileMode;
  readonly memoryMode: "static" | "sequence";
  /** Global batches to try. */
  readonly batches: readonly number[];
  /** Micro-batches to try; null tries every divisor of the batch. */
  readonly microBatches: number | null;
  readonly disable: {
    readonly data: boolean;
    readonly tensor: boolean;
    readonly context: boolean;
    readonly sequence: boolean;
    readonly pipeline: boolean;
    readonly recompute: boolean;
    readonly zero3: boolean;
    readonly vocabularyTensor: boolean;
    readonly vocabularySequence: boolean;
  };
  readonly maxTensor: number;
  readonly maxPipeline: number;
  readonly maxSequence: number;
  readonly maxContext: number;
  /** False: one strategy for all layers, the ancestor's "coarse" mode. */
  readonly fineGrained: boolean;
  readonly timeFactor: number;
  /** Paths of the profile files below the inputs folder. */
  readonly inputs: readonly string[];
}

/** The profiles that a case names, parsed. */
export interface AncestorInputs {
  readonly allReduce: AllReduceBandwidths;
  readonly pipeline: ReadonlyMap<number, number>;
  readonly overlap: number;
  readonly messages: MessageSamples;
  readonly computation: ComputationProfile;
  readonly memory: MemoryProfile;
}
