/** How far a long piece of work has come. */
export interface Progress {
  /** What is being done, in a few words: "all-reduce over 2 ranks". */
  readonly label: string;
  readonly done: number;
  readonly total: number;
}

/** Who wants to know. Called often: it must be cheap. */
export type OnProgress = (progress: Progress) => void;
