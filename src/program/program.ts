import type { Dtype } from "../base/units.js";
import type { GraphRef } from "../graph/graph-ref.js";
import type { Init } from "../graph/layer-graphs.js";
import type { Plan } from "../plan/plan.js";

/**
 * Queues of a rank. Instructions of one stream run in order; instructions of different streams run side by side,
 * except where `waits` orders them. On the host a stream is a thread, on CUDA a CUDA stream.
 *
 * Transfers have a stream per direction, so that a send that waits for its receiver never stops a receive:
 * 1F1B cannot deadlock.
 */
export type Stream =
  | "compute"
  /** ZeRO's parameter gathers. */
  | "gather"
  /** Gradient reductions. */
  | "reduce"
  | "activationsIn"
  | "activationsOut"
  | "gradientsIn"
  | "gradientsOut";

export type BufferCategory =
  | "parameter"
  | "gradient"
  | "optimizer"
  | "activation"
  /** Gathered parameters, gradients on their way to a reduction, layout changes. */
  | "transient"
  /** Tokens, labels, scalars, loss. */
  | "io";

/** A region of the rank's arena. Two buffers may share addresses when their lifetimes do not meet. */
export interface BufferPlan {
  readonly name: string;
  readonly category: BufferCategory;
  readonly sizeBytes: number;
  readonly offsetBytes: number;
  /** Lives across steps (parameters, optimizer state, inputs). Otherwise from `first` to `last` instruction. */
  readonly persistent: boolean;
  readonly first: number;
  readonly last: number;
}

/** A typed view of a buffer. Instructions name tensors by their index in {@link Program.tensors}. */
export interface TensorView {
  readonly name: string;
  readonly buffer: number;
  /** From the start of the buffer. */
  readonly offsetBytes: number;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
}

/** What an instruction is part of; read by the timeline, the cost comparison and error messages. */
export interface InstructionLabel {
  readonly phase:
    | "forward"
    | "recompute"
    | "backward"
    | "gather"
    | "reduce"
    | "transfer"
    | "relayout"
    | "optimizer";
  /** Layer of the body; -1 the embedding, `layers.length` the head; absent where it belongs to no layer. */
  readonly layer?: number;
  readonly microBatch?: number;
}

interface InstructionBase {
  readonly stream: Stream;
  /** Indices of earlier instructions (of other streams) that must have ended before this one starts. */
  readonly waits: readonly number[];
  readonly label: InstructionLabel;
}

/** Runs a graph. Tensors in the order of the graph's ports. */
export interface RunInstruction extends InstructionBase {
  readonly op: "run";
  /** Index in {@link Program.graphs}. */
  readonly graph: number;
  readonly inputs: readonly number[];
  readonly outputs: readonly number[];
}

/**
 * A collective over {@link Program.groups}`[group]`; every member issues the same one in the same order of this
 * group and stream. Pieces lie along axis 0, in the order of the group.
 * - `allReduce`: output = reduction over ranks of input (may be the same tensor).
 * - `allGather`: output holds `ranks` inputs, one after another.
 * - `reduceScatter`: output is this rank's piece of the reduced input; or, where it `accumulates`, of
 *   ((output + first rank's input) + second's) + …, with output and input apart. Sums only, host only.
 * - `allToAll`: piece i of input goes to rank i of the group; output holds what came, in the group's order.
 * - `broadcast`: from the group's first rank; input is read there only.
 */
export interface CollectiveInstruction extends InstructionBase {
  readonly op: "allReduce" | "allGather" | "reduceScatter" | "allToAll" | "broadcast";
  readonly group: number;
  readonly reduction: "sum" | "max";
  readonly accumulates?: true;
  readonly input: number;
  readonly output: number;
}

/** One half of a transfer between two ranks. Transfers of one pair and stream pair match in order. */
export interface TransferInstruction extends InstructionBase {
  readonly op: "send" | "receive";
  readonly peer: number;
  readonly tensor: number;
}

/** One piece of an exchange. Pieces between two ranks match in the order in which both list them. */
export interface ExchangePiece {
  /** Rank of the world. */
  readonly peer: number;
  /** Whole, contiguous tensor. */
  readonly tensor: number;
}

/**
 * An all-to-all with uneven pieces: all sends and receives of one rank, at once (NCCL: one group call). Every member
 * of the group issues it in the same order, with empty lists where it has nothing to move; a rank never lists itself.
 * Layout changes inside a stage are made of it.
 */
export interface ExchangeInstruction extends InstructionBase {
  readonly op: "exchange";
  readonly group: number;
  readonly sends: readonly ExchangePiece[];
  readonly receives: readonly ExchangePiece[];
}

/**
 * Copies a block of one tensor into a block of another of the same dtype and the same number of axes (at most 4):
 * output[outputStart + i] = input[inputStart + i] for every i below `extent`. Packs and unpacks strided blocks.
 */
interface CopyBlockInstruction extends InstructionBase {
  readonly op: "copyBlock";
  readonly input: number;
  readonly output: number;
  readonly inputStart: readonly number[];
  readonly outputStart: readonly number[];
  readonly extent: readonly number[];
}

/**
 * `copy`: output = input, converted to the output's dtype. `accumulate`: output += input, the input converted to the
 * output's dtype first (float32 += bfloat16 occurs).
 */
interface ElementwiseInstruction extends InstructionBase {
  readonly op: "copy" | "accumulate";
  readonly input: number;
  readonly output: number;
}

interface FillInstruction extends InstructionBase {
  readonly op: "fill";
  readonly value: number;
  readonly output: number;
}

/**
 * Elements of a sum of squares that does not depend on who adds what: limbs of 24 bits of a fixed-point number, see
 * native/src/exact-squares.h. Host only.
 */
export const EXACT_LIMBS = 18;
/** Elements of a run, whose squares are added up before their sum becomes limbs. Runs start with the tensors. */
export const EXACT_RUN = 64;

/**
 * output (float64 `[1]`) = sum over the tensors of the sum of their squares, in a fixed order; or, float64
 * `[EXACT_LIMBS]`, the exact sum of runs, whose parts add up to the same bits over any ranks. Where it `accumulates`, added
 * to what output holds.
 */
interface SumSquaresInstruction extends InstructionBase {
  readonly op: "sumSquares";
  readonly accumulates?: true;
  readonly inputs: readonly number[];
  readonly output: number;
}

/**
 * Global-norm clipping: from the summed squares (as `sumSquares` leaves them) and the largest norm allowed (hyper) to
 * `output` = float32 `[factor, norm]`, factor = min(1, maxNorm / (norm + 1e-6)); factor 1 when maxNorm is 0.
 * Pascanu et al. 2013.
 */
interface ClipInstruction extends InstructionBase {
  readonly op: "clip";
  readonly sumSquares: number;
  readonly hyper: number;
  readonly output: number;
}

/**
 * AdamW (Loshchilov & Hutter 2019) on one flat float32 shard, in place; gradient (float32 or bfloat16) times the clip
 * factor.
 * The first `decayElements` elements are decayed, the rest (biases, norms) are not.
 */
export interface AdamwInstruction extends InstructionBase {
  readonly op: "adamw";
  readonly parameter: number;
  readonly gradient: number;
  readonly moment1: number;
  readonly moment2: number;
  readonly decayElements: number;
  readonly hyper: number;
  readonly clip: number;
  /** bfloat16 copy that forward reads, written beside the float32 master; -1 when there is none. */
  readonly computeCopy: number;
}

export type Instruction =
  | RunInstruction
  | CollectiveInstruction
  | TransferInstruction
  | ExchangeInstruction
  | CopyBlockInstruction
  | ElementwiseInstruction
  | FillInstruction
  | SumSquaresInstruction
  | ClipInstruction
  | AdamwInstruction;

/** Names of tensors that the world writes before a step or reads after it. */
interface ProgramIo {
  /**
   * float32 `[8]`, which the coordinator writes before every step: learning rate, beta1, beta2, epsilon, weight decay,
   * both bias corrections, largest norm.
   */
  readonly hyper: number;
  /** float32 `[2]`: clip factor and global gradient norm. */
  readonly clip: number;
  /**
   * float32 `[microBatches]`: this rank's shares of the step's mean loss; those of all micro-batches and ranks sum to
   * it. `[2 · microBatches]` for heads that count right answers: each share is followed by theirs. -1 on ranks without a
   * head.
   */
  readonly loss: number;
  /** What the data loader writes for each micro-batch: "tokens" → tensors by micro-batch. */
  readonly inputs: Readonly<Record<string, readonly number[]>>;
  /** Which part of the micro-batch each of `inputs` is, by the same keys. */
  readonly inputPlaces: Readonly<Record<string, InputPlace>>;
}

/** The part of a micro-batch's data that a rank reads. */
export interface InputPlace {
  /** What the data loader calls it: "tokens". */
  readonly value: string;
  /** Samples of the micro-batch (counted within its `globalBatch / microBatches`). */
  readonly firstSample: number;
  readonly samples: number;
  /** Place in the tensor group, for values that are cut along the sequence (their shape tells). */
  readonly tensorIndex: number;
  readonly tensorDegree: number;
}

/** Which part of the model one of this rank's parameter tensors is: how checkpoints, imports and tests find it. */
export interface ParameterSlice {
  /**
   * "embedding.word.weight", "layers.3.attention.query.weight", "head.norm.weight". A head's parameter that is tied to
   * the embedding bears the embedding's name, on the last stage too.
   */
  readonly name: string;
  /** Shape of the whole parameter. */
  readonly fullShape: readonly number[];
  /** Rows of it that mean something; the rest pads the vocabulary under this plan. Absent: all. */
  readonly unpaddedRows?: number;
  /** Where this rank's (tensor-parallel) share starts in each axis, and its extent. */
  readonly start: readonly number[];
  readonly extent: readonly number[];
  /** How it starts; drawn per element of the full parameter, so that the plan does not matter. */
  readonly init: Init;
  /** Index in {@link Program.flats}, and the element at which the share lies in the unsharded flat vector. */
  readonly flat: number;
  readonly flatOffset: number;
}

/**
 * A layer's parameters as one flat vector, cut over the ranks that share its states (ZeRO). A parameter that ties
 * embedding and head is a flat of its own, so that both ends cut it alike.
 */
export interface FlatParameters {
  readonly layer: number;
  /** Shared by embedding and head: `layer` is -1, or that of the head where the head has another stage. */
  readonly tied: boolean;
  /** Elements of the unsharded vector, padding included. */
  readonly elements: number;
  /** The piece whose optimizer state this rank holds. */
  readonly shardStart: number;
  readonly shardElements: number;
  /** Tensors: float32 parameters this rank keeps across steps, and its gradients and moments. */
  readonly parameter: number;
  readonly gradient: number;
  readonly moment1: number;
  readonly moment2: number;
  /**
   * First element that `parameter` holds of the unsharded vector: 0, or `shardStart` where only the shard is kept
   * (ZeRO-3; the float32 masters of ZeRO-1 and ZeRO-2 under bfloat16).
   */
  readonly parameterStart: number;
  /** First element that `gradient` holds: `shardStart` wherever gradients end up sharded (all but ddp). */
  readonly gradientStart: number;
  /**
   * What graphs read (`computeCopy`, or `parameter` without one) is whole on each rank when a step begins and when it ends,
   * though only the shard is updated: the step gathers it behind the update.
   */
  readonly wholeBetweenSteps: boolean;
  /** bfloat16 parameters that graphs read, kept beside the float32 masters; -1 under float32. */
  readonly computeCopy: number;
  readonly computeCopyStart: number;
}

/** A small tensor that is written once, when the Program is loaded: offsets, position rows. */
export interface ConstantTensor {
  readonly tensor: number;
  readonly values: readonly number[];
}

/**
 * All that one rank does in one training step, decided before it runs: verified, simulated, drawn and executed
 * from the same data. Serializes as JSON.
 */
export interface Program {
  readonly rank: number;
  readonly plan: Plan;
  readonly graphs: readonly GraphRef[];
  readonly groups: readonly (readonly number[])[];
  readonly buffers: readonly BufferPlan[];
  readonly tensors: readonly TensorView[];
  readonly instructions: readonly Instruction[];
  /** Bytes of the arena that holds all buffers. */
  readonly arenaBytes: number;
  readonly io: ProgramIo;
  readonly flats: readonly FlatParameters[];
  readonly parameters: readonly ParameterSlice[];
  readonly constants: readonly ConstantTensor[];
}
