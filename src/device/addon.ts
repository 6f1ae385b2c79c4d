import type { Program } from "../program/program.js";

/**
 * The native addon, declared by hand: what TypeScript may ask of it. It moves bytes and runs instruction lists;
 * it decides nothing.
 */
export interface NativeAddon {
  /** ABI of the addon itself; compared with the SDK's at load. */
  readonly abi: number;
  /** What the addon finds at run time: ONNX Runtime's version and providers, GPUs and what runs them. */
  probe(options: {
    readonly onnxRuntimePath: string;
    /** Look also for each CUDA library, its version and place (some 50 ms). */
    readonly libraries: boolean;
  }): NativeProbe;
  openWorker(options: WorkerOptions): NativeWorker;
  /** Creates the shared memory in which host ranks meet; `unlinkShared` removes its name once all are in. */
  createShared(options: {
    readonly name: string;
    readonly ranks: number;
    readonly bytesPerRank: number;
  }): void;
  unlinkShared(name: string): void;
  /** Gives what the process has freed back to the system. */
  trimHeap(): void;
  /**
   * Elements of a stream of normal numbers, as `base/random.ts` draws them, over all cores: runs of `run` elements, the
   * first at `start`, each `stride` after the one before.
   */
  fillNormal(
    target: Float32Array,
    options: {
      readonly key0: number;
      readonly key1: number;
      readonly start: number;
      readonly run: number;
      readonly stride: number;
      readonly standardDeviation: number;
    },
  ): void;
  /** Rounds to bfloat16, to nearest and ties to even, over all cores; values are finite. */
  roundBfloat16(source: Float32Array, target: Uint16Array): void;
  /** Maps a file for reading. @throws GalvatronError FILE_UNREADABLE */
  readonly MappedFile: new (
    path: string,
  ) => NativeMappedFile;
}

/** A file mapped into memory. Bytes come out as copies: nothing points into the mapping when it is closed. */
export interface NativeMappedFile {
  /** When it was mapped. */
  readonly sizeBytes: number;
  /** Copies `target.length` bytes from `start` on. @throws GalvatronError DATA_INVALID when the file became shorter */
  read(start: number, target: Uint8Array): void;
  /** Lets go of the pages read so far; they are mapped again when they are read again. */
  release(): void;
  close(): void;
}

export interface NativeProbe {
  readonly onnxRuntime: {
    readonly path: string;
    readonly version: string;
    readonly providers: readonly string[];
  };
  readonly libraries: readonly {
    readonly name: string;
    readonly found: boolean;
    readonly version: string;
    readonly searched: readonly string[];
  }[];
  readonly devices: readonly { readonly name: string; readonly memoryBytes: number }[];
}

export interface WorkerOptions {
  readonly device: "host" | "cuda";
  readonly deviceIndex: number;
  readonly rank: number;
  readonly ranks: number;
  /** Path of the ONNX Runtime library. */
  readonly onnxRuntimePath: string;
  /** Name of the shared memory segment where ranks of this host meet. */
  readonly sharedName: string;
  /** Threads of ONNX Runtime for one graph run on the host. */
  readonly threads: number;
  /** No wait for another rank lasts longer. */
  readonly deadlineMs: number;
}

/** One rank's executor. Its calls run on its own threads; JavaScript only awaits. */
export interface NativeWorker {
  /**
   * Compiles the graphs, allocates the arena, opens communicators for the groups. Replaces the program before.
   *
   * @param keptBytes - from the start of the arena, stay as the program before left them; it had an arena as large
   */
  load(program: Program, graphs: Readonly<Record<string, Uint8Array>>, keptBytes?: number): Promise<void>;
  /** Copies bytes into a tensor of the loaded program. */
  write(tensor: number, bytes: Uint8Array): Promise<void>;
  /** Bytes `from` to `until` of a tensor become the given ones again and again; these must not change meanwhile. */
  writeRepeated(tensor: number, from: number, until: number, bytes: Uint8Array): Promise<void>;
  /** Copies a tensor's bytes out. */
  read(tensor: number): Promise<Uint8Array>;
  /** Runs all instructions once. Rejects, with rank and instruction, on failure or deadline. */
  step(): Promise<StepTimes>;
  /** Wakes every wait of this rank and lets the step in flight fail: for interrupts and lost peers. */
  abort(reason: string): void;
  close(): Promise<void>;
}

/** Start and end of every instruction, in ms from the start of the step (device time on CUDA). */
export interface StepTimes {
  readonly stepMs: number;
  /** `[start0, end0, start1, end1, …]` */
  readonly instructionsMs: Float64Array;
  /** Bytes that each instruction handed to other ranks; empty on CUDA. */
  readonly sentBytes: Float64Array;
  /** The arena's bytes, plus ONNX Runtime's own at their peak. */
  readonly arenaBytes: number;
  readonly onnxRuntimeBytes: number;
  /**
   * For each graph of the Program the most that it took of ONNX Runtime's arena while it ran, the constants that its
   * session keeps, and what else the session keeps in the heap: `[run0, constants0, session0, run1, …]`; empty on CUDA.
   */
  readonly graphBytes: Float64Array;
  /** In use on the device by its driver's count; 0 on the host. */
  readonly deviceBytes: number;
}
