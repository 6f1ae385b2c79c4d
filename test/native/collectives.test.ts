import { afterEach, describe, expect, test } from "vitest";
import type { Dtype } from "../../src/base/units.js";
import type { Stream } from "../../src/program/program.js";
import { bytesOf, draftProgram, type ProgramDraft, valuesOf } from "../support/native-program.js";
import { type NativeRanks, startNativeRanks } from "../support/native-ranks.js";

let opened: NativeRanks | undefined;
afterEach(async () => {
  await opened?.close();
  opened = undefined;
});

type Kind = "allReduce" | "allGather" | "reduceScatter" | "allToAll" | "broadcast";

/** What rank `rank` puts in: different everywhere, of mixed sign and size so that the order of a sum shows. */
function inputOf(rank: number, elements: number, salt: number): Float32Array {
  return Float32Array.from({ length: elements }, (_, i) => {
    const x = Math.sin((i + 1) * 12.9898 + rank * 78.233 + salt * 37.719) * 43758.5453;
    return (x - Math.floor(x) - 0.5) * 10 ** ((i + rank) % 7);
  });
}

/** The slow twin: what each member of the group must hold afterwards. */
function expected(
  kind: Kind,
  dtype: Dtype,
  reduction: "sum" | "max",
  inputs: readonly (readonly number[])[],
  member: number,
): number[] {
  const reduced = (): number[] => {
    const values = [...inputs[0]!];
    for (const input of inputs.slice(1))
      for (let i = 0; i < values.length; i++) {
        const value = reduction === "max" ? Math.max(values[i]!, input[i]!) : values[i]! + input[i]!;
        values[i] = dtype === "float64" ? value : Math.fround(value);
      }
    return valuesOf(dtype, bytesOf(dtype, values));
  };
  const piece = inputs[0]!.length / inputs.length;
  switch (kind) {
    case "allReduce":
      return reduced();
    case "reduceScatter":
      return reduced().slice(member * piece, (member + 1) * piece);
    case "allGather":
      return inputs.flat();
    case "allToAll":
      return inputs.flatMap((input) => input.slice(member * piece, (member + 1) * piece));
    case "broadcast":
      return [...inputs[0]!];
  }
}

interface Case {
  readonly kind: Kind;
  readonly dtype: Dtype;
  readonly reduction: "sum" | "max";
  /** Elements of a piece: of the whole where nothing is cut. */
  readonly elements: number;
  readonly group: readonly number[];
  readonly stream: Stream;
}

const STREAMS: readonly Stream[] = ["compute", "gather", "reduce", "activationsIn", "gradientsOut"];

const elementsIn = (it: Case): number =>
  it.kind === "reduceScatter" || it.kind === "allToAll" ? it.elements * it.group.length : it.elements;
const elementsOut = (it: Case): number =>
  it.kind === "allGather" || it.kind === "allToAll" ? it.elements * it.group.length : it.elements;

interface Placed {
  readonly case: Case;
  readonly index: number;
  readonly input: number;
  readonly output: number;
}

function place(draft: ProgramDraft, it: Case, index: number): Placed {
  const input = draft.tensor(it.dtype, [elementsIn(it)]);
  const output = draft.tensor(it.dtype, [elementsOut(it)]);
  const group = draft.group(it.group);
  draft.add({ op: it.kind, group, reduction: it.reduction, input, output }, it.stream);
  return { case: it, index, input, output };
}

/** Runs all cases as one program per rank, twice, and compares every member's output with the twin's. */
async function runCases(ranks: NativeRanks, cases: readonly Case[]): Promise<void> {
  const drafts = ranks.ranks.map((_, rank) => draftProgram(rank));
  const placed = drafts.map((draft, rank) =>
    cases.flatMap((it, index) => (it.group.includes(rank) ? [place(draft, it, index)] : [])),
  );
  await ranks.load(drafts.map((draft) => draft.build()));
  const inputs = cases.map((it, index) =>
    it.group.map((rank) => valuesOf(it.dtype, bytesOf(it.dtype, inputOf(rank, elementsIn(it), index)))),
  );
  for (let run = 0; run < 2; run++) {
    for (const [rank, own] of placed.entries())
      for (const { case: it, index, input } of own)
        await ranks.ranks[rank]!.write(input, bytesOf(it.dtype, inputs[index]![it.group.indexOf(rank)]!));
    await ranks.step();
    for (const [rank, own] of placed.entries()) {
      for (const { case: it, index, output } of own) {
        const member = it.group.indexOf(rank);
        const values = valuesOf(it.dtype, await ranks.ranks[rank]!.read(output));
        const want = expected(it.kind, it.dtype, it.reduction, inputs[index]!, member);
        const wrong = values.findIndex((value, i) => !Object.is(value, want[i]));
        expect({ case: it, rank, wrong, value: values[wrong], length: values.length }, `run ${run}`).toEqual({
          case: it,
          rank,
          wrong: -1,
          value: undefined,
          length: want.length,
        });
      }
    }
  }
}

const KINDS: readonly Kind[] = ["allReduce", "allGather", "reduceScatter", "allToAll", "broadcast"];

/** Sizes: one, odd, smaller than a line, around a room of shared memory and well over it. */
const SIZES = [1, 7, 130, 4097, 40_001];

describe.each([2, 3, 4])("%i ranks", (count) => {
  const everyone = Array.from({ length: count }, (_, rank) => rank);

  test("every collective at odd sizes gives the bits of the plain sum", async () => {
    opened = await startNativeRanks({ ranks: count });
    const cases = KINDS.flatMap((kind) =>
      SIZES.map(
        (elements): Case => ({
          kind,
          dtype: "float32",
          reduction: "sum",
          elements,
          group: everyone,
          stream: "compute",
        }),
      ),
    );
    await runCases(opened, cases);
  });

  test("element types, maxima and groups in another order", async () => {
    opened = await startNativeRanks({ ranks: count });
    const cases = (["float64", "bfloat16", "float32"] as const).flatMap((dtype) =>
      (["sum", "max"] as const).flatMap((reduction) =>
        (["allReduce", "reduceScatter"] as const).map(
          (kind): Case => ({
            kind,
            dtype,
            reduction,
            elements: 9_001,
            group: [...everyone].reverse(),
            stream: "reduce",
          }),
        ),
      ),
    );
    await runCases(opened, cases);
  });

  test("all streams and several groups at once never mix", async () => {
    opened = await startNativeRanks({ ranks: count, bytesPerRank: 2 ** 18 });
    const pairs = everyone.flatMap((a) => everyone.filter((b) => b > a).map((b) => [a, b]));
    const groups = [everyone, ...pairs, ...everyone.map((rank) => [rank])];
    const cases = groups.flatMap((group, g) =>
      STREAMS.flatMap((stream, s) =>
        KINDS.map(
          (_, k): Case => ({
            kind: KINDS[(k + s + g) % KINDS.length]!,
            dtype: "float32",
            reduction: "sum",
            elements: [3, 1_025, 20_011][(k + g) % 3]!,
            group,
            stream,
          }),
        ),
      ),
    );
    await runCases(opened, cases);
  });
});

test("an all-reduce may write over its input, a gather read the own piece of its output", async () => {
  opened = await startNativeRanks({ ranks: 3, bytesPerRank: 2 ** 18 });
  const elements = 30_000;
  const drafts = opened.ranks.map((_, rank) => draftProgram(rank));
  const tensors = drafts.map((draft, rank) => {
    const group = draft.group([0, 1, 2]);
    const reduced = draft.tensor("float32", [elements]);
    const scattered = draft.tensor("float32", [elements]);
    const gathered = draft.tensor("float32", [elements]);
    const piece = draft.view(gathered, (rank * elements * 4) / 3, "float32", [elements / 3]);
    const ownPiece = draft.view(scattered, (rank * elements * 4) / 3, "float32", [elements / 3]);
    draft.add({ op: "allReduce", group, reduction: "sum", input: reduced, output: reduced });
    draft.add({ op: "reduceScatter", group, reduction: "sum", input: scattered, output: ownPiece });
    draft.add({ op: "allGather", group, reduction: "sum", input: piece, output: gathered });
    return { reduced, scattered, ownPiece, gathered, piece };
  });
  await opened.load(drafts.map((draft) => draft.build()));
  const inputs = [0, 1, 2].map((rank) => [...inputOf(rank, elements, 5)]);
  for (const [rank, of] of tensors.entries()) {
    await opened.ranks[rank]!.write(of.reduced, bytesOf("float32", inputs[rank]!));
    await opened.ranks[rank]!.write(of.scattered, bytesOf("float32", inputs[rank]!));
    await opened.ranks[rank]!.write(of.piece, bytesOf("float32", inputs[rank]!.slice(0, elements / 3)));
  }
  await opened.step();
  for (const [rank, of] of tensors.entries()) {
    const read = async (tensor: number): Promise<number[]> =>
      valuesOf("float32", await opened!.ranks[rank]!.read(tensor));
    expect(await read(of.reduced)).toEqual(expected("allReduce", "float32", "sum", inputs, rank));
    expect(await read(of.ownPiece)).toEqual(expected("reduceScatter", "float32", "sum", inputs, rank));
    expect(await read(of.gathered)).toEqual(inputs.flatMap((input) => input.slice(0, elements / 3)));
  }
});

test("a reduce-scatter that accumulates puts what its output holds in front of the sum", async () => {
  const count = 3;
  opened = await startNativeRanks({ ranks: count, bytesPerRank: 2 ** 18 });
  const groups = [[0, 1, 2], [2, 0, 1], [1]].flatMap((group) =>
    [3, 20_011].map((elements) => ({ group, elements })),
  );
  const drafts = opened.ranks.map((_, rank) => draftProgram(rank));
  const placed = drafts.map((draft, rank) =>
    groups.flatMap(({ group, elements }, index) => {
      if (!group.includes(rank)) return [];
      const input = draft.tensor("float32", [elements * group.length]);
      const output = draft.tensor("float32", [elements]);
      const accumulates = true as const;
      draft.add({
        op: "reduceScatter",
        group: draft.group(group),
        reduction: "sum",
        accumulates,
        input,
        output,
      });
      return [{ index, input, output }];
    }),
  );
  await opened.load(drafts.map((draft) => draft.build()));
  const inputs = groups.map(({ group, elements }, index) =>
    group.map((rank) => [...inputOf(rank, elements * group.length, index)]),
  );
  const before = groups.map(({ group, elements }, index) => inputOf(9, elements * group.length, index + 50));
  const pieceOf = (index: number, rank: number): [number, number] => {
    const { group, elements } = groups[index]!;
    return [group.indexOf(rank) * elements, (group.indexOf(rank) + 1) * elements];
  };
  for (const [rank, own] of placed.entries())
    for (const { index, input, output } of own) {
      const { group } = groups[index]!;
      await opened.ranks[rank]!.write(input, bytesOf("float32", inputs[index]![group.indexOf(rank)]!));
      const piece = before[index]!.slice(...pieceOf(index, rank));
      await opened.ranks[rank]!.write(output, bytesOf("float32", piece));
    }
  await opened.step();
  await opened.step();
  for (const [rank, own] of placed.entries())
    for (const { index, output } of own) {
      const one = expected("allReduce", "float32", "sum", [[...before[index]!], ...inputs[index]!], 0);
      const two = expected("allReduce", "float32", "sum", [one, ...inputs[index]!], 0);
      const values = valuesOf("float32", await opened.ranks[rank]!.read(output));
      expect(values).toEqual(two.slice(...pieceOf(index, rank)));
    }
});

test.each([
  ["a maximum", { reduction: "max" as const }, "only a reduceScatter of sums"],
  ["an all-reduce", { op: "allReduce" as const }, "only a reduceScatter of sums"],
  ["its own input", { own: true }, "lies in the bytes of"],
])("%s is not added to", async (_, how, reason) => {
  opened = await startNativeRanks({ ranks: 1 });
  const draft = draftProgram(0);
  const input = draft.tensor("float32", [8]);
  const output = "own" in how ? draft.view(input, 0, "float32", [8]) : draft.tensor("float32", [8]);
  const { own: _own, ...choice } = { own: false, ...how };
  const base = { op: "reduceScatter", reduction: "sum", accumulates: true } as const;
  draft.add({ ...base, ...choice, group: draft.group([0]), input, output });
  await expect(opened.load([draft.build()])).rejects.toThrow(reason);
});

test("exchanges move uneven pieces, none, and several between the same two ranks", async () => {
  opened = await startNativeRanks({ ranks: 4, bytesPerRank: 2 ** 18 });
  // pieces[from][to]: sizes in elements, in the order in which both list them
  const pieces: readonly (readonly (readonly number[])[])[] = [
    [[], [5, 70_000], [1], []],
    [[3], [], [], [64, 64, 64, 64, 64, 64, 9]],
    [[], [40_001], [], [2]],
    [[100_000, 1], [], [], []],
  ];
  const value = (from: number, to: number, piece: number, i: number): number =>
    from * 1000 + to * 100 + piece * 10 + (i % 7);
  const drafts = opened.ranks.map((_, rank) => draftProgram(rank));
  const received = drafts.map((draft, rank) => {
    const group = draft.group([0, 1, 2, 3]);
    const sends = pieces[rank]!.flatMap((sizes, to) =>
      sizes.map((size, piece) => ({ peer: to, piece, size, tensor: draft.tensor("float32", [size]) })),
    );
    const receives = pieces.flatMap((row, from) =>
      row[rank]!.map((size, piece) => ({ peer: from, piece, size, tensor: draft.tensor("float32", [size]) })),
    );
    draft.add({ op: "exchange", group, sends, receives }, "activationsIn");
    return { sends, receives };
  });
  await opened.load(drafts.map((draft) => draft.build()));
  for (let run = 0; run < 3; run++) {
    for (const [rank, { sends }] of received.entries())
      for (const { peer, piece, size, tensor } of sends)
        await opened.ranks[rank]!.write(
          tensor,
          bytesOf(
            "float32",
            Float32Array.from({ length: size }, (_, i) => value(rank, peer, piece, i) + run),
          ),
        );
    await opened.step();
    for (const [rank, { receives }] of received.entries())
      for (const { peer, piece, size, tensor } of receives) {
        const values = valuesOf("float32", await opened.ranks[rank]!.read(tensor));
        const wrong = values.findIndex((got, i) => got !== value(peer, rank, piece, i) + run);
        expect({ rank, peer, piece, wrong, length: values.length }).toEqual({
          rank,
          peer,
          piece,
          wrong: -1,
          length: size,
        });
      }
  }
});
