/** One level of an index: `extent` steps of `stride` elements. */
interface Level {
  readonly extent: number;
  readonly stride: number;
}

/**
 * Where the elements of one parameter lie inside a tensor of a Hugging Face file: a strided view. Transposes, parts of
 * fused tensors and other shapes for the same elements are all such views, so that any slice of a parameter can be
 * read or written without the rest of it.
 */
export interface TensorView {
  /** Of the whole model: "layers.3.attention.query.weight". */
  readonly parameter: string;
  /** In the file: "transformer.h.3.attn.c_attn.weight". */
  readonly tensor: string;
  /** Of the file's tensor, row-major. */
  readonly shape: readonly number[];
  readonly offset: number;
  /** For each axis of the parameter, what its index is made of, outermost first. */
  readonly axes: readonly (readonly Level[])[];
}

/** The same elements in the same order; `parameterShape` where the shapes differ. */
export function sameTensor(
  parameter: string,
  tensor: string,
  shape: readonly number[],
  parameterShape: readonly number[] = shape,
): TensorView {
  let stride = 1;
  const axes: Level[][] = [];
  for (const extent of [...parameterShape].reverse()) {
    axes.unshift([{ extent, stride }]);
    stride *= extent;
  }
  return { parameter, tensor, shape, offset: 0, axes };
}

/** Weight `[out, in]` and, where there is one, bias of a linear layer, as PyTorch keeps them. */
export function linearTensors(
  parameter: string,
  tensor: string,
  [outputs, inputs]: readonly [outputs: number, inputs: number],
  bias: boolean,
): readonly TensorView[] {
  const weight = sameTensor(`${parameter}.weight`, `${tensor}.weight`, [outputs, inputs]);
  return bias ? [weight, sameTensor(`${parameter}.bias`, `${tensor}.bias`, [outputs])] : [weight];
}

/** Scale and, where there is one, shift of a norm. */
export function normTensors(
  parameter: string,
  tensor: string,
  width: number,
  bias: boolean,
): readonly TensorView[] {
  const scale = sameTensor(`${parameter}.weight`, `${tensor}.weight`, [width]);
  return bias ? [scale, sameTensor(`${parameter}.bias`, `${tensor}.bias`, [width])] : [scale];
}

/**
 * A pre-norm block of the vision models.
 * @param projections where query, key and value are: "attention.attention" or "attention.self"
 */
export function visionBlockTensors(
  ours: string,
  theirs: string,
  projections: string,
  { hidden, feedForward }: { readonly hidden: number; readonly feedForward: number },
): readonly TensorView[] {
  const square = [hidden, hidden] as const;
  return [
    ...normTensors(`${ours}.attention.norm`, `${theirs}.layernorm_before`, hidden, true),
    ...["query", "key", "value"].flatMap((name) =>
      linearTensors(`${ours}.attention.${name}`, `${theirs}.${projections}.${name}`, square, true),
    ),
    ...linearTensors(`${ours}.attention.output`, `${theirs}.attention.output.dense`, square, true),
    ...normTensors(`${ours}.feedForward.norm`, `${theirs}.layernorm_after`, hidden, true),
    ...linearTensors(`${ours}.feedForward.up`, `${theirs}.intermediate.dense`, [feedForward, hidden], true),
    ...linearTensors(`${ours}.feedForward.down`, `${theirs}.output.dense`, [hidden, feedForward], true),
  ];
}

/** Filters of a convolution whose stride is their size, as the projection of flattened patches, and their bias. */
export function patchTensors(
  tensor: string,
  hidden: number,
  channels: number,
  patch: number,
): readonly TensorView[] {
  const filters = [hidden, channels, patch, patch];
  return [
    sameTensor("embedding.patch.weight", `${tensor}.weight`, filters, [hidden, channels * patch * patch]),
    sameTensor("embedding.patch.bias", `${tensor}.bias`, [hidden]),
  ];
}

/**
 * GPT-2's "Conv1D": the weight lies transposed, `[in, parts · out]`, and several projections may share one, side by
 * side.
 */
export function transposedTensors(
  parameter: string,
  tensor: string,
  [outputs, inputs]: readonly [outputs: number, inputs: number],
  part = 0,
  parts = 1,
): readonly TensorView[] {
  const width = parts * outputs;
  return [
    {
      parameter: `${parameter}.weight`,
      tensor: `${tensor}.weight`,
      shape: [inputs, width],
      offset: part * outputs,
      axes: [[{ extent: outputs, stride: 1 }], [{ extent: inputs, stride: width }]],
    },
    {
      parameter: `${parameter}.bias`,
      tensor: `${tensor}.bias`,
      shape: [width],
      offset: part * outputs,
      axes: [[{ extent: outputs, stride: 1 }]],
    },
  ];
}

/** Projections that share one linear layer, head by head: rows of head 0's part 0, 1, …, then head 1's, … */
export function interleavedTensors(
  parameter: string,
  tensor: string,
  sizes: { readonly heads: number; readonly headWidth: number; readonly inputs: number },
  part: number,
  parts: number,
): readonly TensorView[] {
  const { heads, headWidth, inputs } = sizes;
  const rows = (width: number): readonly Level[] => [
    { extent: heads, stride: parts * headWidth * width },
    { extent: headWidth, stride: width },
  ];
  const outputs = parts * heads * headWidth;
  return [
    {
      parameter: `${parameter}.weight`,
      tensor: `${tensor}.weight`,
      shape: [outputs, inputs],
      offset: part * headWidth * inputs,
      axes: [rows(inputs), [{ extent: inputs, stride: 1 }]],
    },
    {
      parameter: `${parameter}.bias`,
      tensor: `${tensor}.bias`,
      shape: [outputs],
      offset: part * headWidth,
      axes: [rows(1)],
    },
  ];
}

/** Shape of the parameter that a view shows. */
export function viewShape(view: TensorView): readonly number[] {
  return view.axes.map((levels) => levels.reduce((product, { extent }) => product * extent, 1));
}
