/**
 * A kind of layer: layers of one kind share their graphs. Widths are those of the whole layer, not of a rank's share.
 */
export interface LayerKind {
  /** Unique in the model: "decoder", "encoder", "stage2". */
  readonly name: string;
  readonly hidden: number;
  readonly heads: number;
  /** Key and value heads; equals `heads` without grouped-query attention. */
  readonly keyValueHeads: number;
  /** Inner width of the feed-forward. */
  readonly feedForward: number;
  /** Positions of the sequence that this kind works on. */
  readonly sequence: number;
  /** Parameters of one layer. */
  readonly parameters: number;
  /** Floating-point operations of one forward pass of one sample (a multiply-add counts two). */
  readonly forwardFlops: number;
}

/**
 * A Transformer as data: what is to be trained, nothing about where.
 * Layers are listed in the order in which activations pass them; embedding and head stand beside.
 */
export interface ModelSpec {
  /** One of `families/registry.ts`. */
  readonly family: string;
  /** For people: "gpt2-small", or "gpt" for one made from a configuration. */
  readonly name: string;
  /** Tokens of the (decoder's) sequence, or patches of the image. */
  readonly sequence: number;
  readonly vocabulary: number;
  /** The kinds in use, keyed by their name. */
  readonly kinds: Readonly<Record<string, LayerKind>>;
  /** Kind name of every layer of the body, in order. */
  readonly layers: readonly string[];
  readonly embedding: { readonly parameters: number };
  /** `parameters` counts the output table also where it is the embedding's (`tied`). */
  readonly head: { readonly parameters: number; readonly forwardFlops: number; readonly tied: boolean };
  /** What only the family's own files read: epsilon, activation, window sizes, … */
  readonly options: Readonly<Record<string, number | string | boolean>>;
}
