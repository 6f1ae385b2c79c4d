import type { CollectiveSample, HardwareProfile, MatmulSample } from "../cluster/hardware-profile.js";
import { axis, baseLayout, type Figure, INK, type ScatterTrace } from "./figure.js";
import { DASHES, SYMBOLS, strategyColor } from "./palette.js";

const NAMES: Readonly<Record<string, string>> = {
  allReduce: "all-reduce",
  allGather: "all-gather",
  reduceScatter: "reduce-scatter",
  allToAll: "all-to-all",
  broadcast: "broadcast",
  sendReceive: "send/receive",
};

/**
 * What the machine can do. Left: bandwidth of every collective over message size, points as measured and lines as
 * fitted by a latency and a bandwidth, which the hover tells. Right: matrix products.
 */
export function hardwareFigure(profile: HardwareProfile): Figure {
  const groups = groupBy(profile.collectives, (s) => `${NAMES[s.collective]}, ${shapeText(s)}`);
  const names = [...new Set(profile.collectives.map((s) => s.collective))];
  const shapes = [...new Set(profile.collectives.map(shapeText))];
  const collectives = [...groups].flatMap(([name, samples]): ScatterTrace[] => {
    const sorted = [...samples].sort((a, b) => a.sizeBytes - b.sizeBytes);
    const { collective } = sorted[0]!;
    const { color } = strategyColor(names.indexOf(collective));
    // A grey print tells collectives by their symbols, groups of ranks by their dashes.
    const symbol = SYMBOLS[names.indexOf(collective) % SYMBOLS.length]!;
    const dash = DASHES[shapes.indexOf(shapeText(sorted[0]!)) % DASHES.length]!;
    const fit = fitLine(sorted);
    const common = { type: "scatter", name: NAMES[collective]!, legendgroup: collective } as const;
    return [
      {
        ...common,
        mode: "markers",
        showlegend: [...groups.keys()].find((key) => key.startsWith(NAMES[collective]!)) === name,
        x: sorted.map((s) => s.sizeBytes),
        y: sorted.map(bandwidthGBps),
        marker: { color, size: 7, symbol },
        hovertemplate: `${name}: %{y} GB/s at %{x} bytes<extra></extra>`,
      },
      {
        ...common,
        mode: "lines",
        showlegend: false,
        ...fittedLine(sorted, fit),
        line: { color, width: 1.5, dash },
        hovertemplate: `${name}: ${threeDigits(fit.latencyMs * 1000)} µs + ${threeDigits(fit.gbps)} GB/s<extra></extra>`,
      },
    ];
  });
  const fastest = Math.max(0, ...profile.matmuls.map((s) => flops(s) / s.timeMs / 1e6));
  const [unit, scale] = fastest > 5000 ? ["TFLOP/s", 1e9] : ["GFLOP/s", 1e6];
  const products = [...groupBy(profile.matmuls, (s) => `matrix product, ${s.dtype}`)].map(
    ([name, samples], index): ScatterTrace => {
      const sorted = [...samples].sort((a, b) => flops(a) - flops(b));
      const color = index === 0 ? INK : "#D55E00";
      return {
        type: "scatter",
        mode: "markers",
        name,
        xaxis: "x2",
        yaxis: "y2",
        x: sorted.map(flops),
        y: sorted.map((s) => Number((flops(s) / s.timeMs / scale).toPrecision(4))),
        text: sorted.map((s) => `${s.m} × ${s.k} × ${s.n}`),
        hovertemplate: `%{text}: %{y} ${unit}<extra></extra>`,
        marker: { color, size: 7, symbol: "diamond" },
      };
    },
  );
  const { cluster } = profile;
  return {
    data: [...collectives, ...products],
    layout: {
      ...baseLayout(
        `${cluster.name}: ${cluster.nodes * cluster.ranksPerNode} ranks of ${cluster.deviceName} (${profile.source})`,
        380,
      ),
      showlegend: true,
      xaxis: axis("message, bytes", { type: "log", dtick: 1, domain: [0, 0.45] }),
      yaxis: axis("GB/s", { rangemode: "tozero" }),
      xaxis2: axis("operations of one product", { type: "log", dtick: 1, domain: [0.58, 1], anchor: "y2" }),
      yaxis2: axis(unit, { rangemode: "tozero", anchor: "x2" }),
    },
  };
}

interface Fit {
  readonly latencyMs: number;
  readonly gbps: number;
}

function shapeText(s: CollectiveSample): string {
  return `${s.ranks} ranks${s.nodes > 1 ? `, ${s.nodes} nodes` : ""}${s.stride > 1 ? ", strided" : ""}`;
}

/** The fit at sizes between the smallest and the largest sample, evenly on a logarithmic axis. */
function fittedLine(sorted: readonly CollectiveSample[], fit: Fit): Pick<ScatterTrace, "x" | "y"> {
  const from = Math.log(sorted[0]!.sizeBytes);
  const to = Math.log(sorted.at(-1)!.sizeBytes);
  const sizes = Array.from({ length: FIT_POINTS }, (_, i) =>
    Math.round(Math.exp(from + ((to - from) * i) / (FIT_POINTS - 1))),
  );
  const gbps = (size: number): number => size / (fit.latencyMs * 1e6 + size / fit.gbps);
  return { x: sizes, y: sizes.map((size) => Number(gbps(size).toPrecision(3))) };
}

const FIT_POINTS = 12;

function threeDigits(value: number): number {
  return Number(value.toPrecision(3));
}

/** Latency and bandwidth that come nearest to the samples, each weighed by its own time: relative errors count. */
function fitLine(samples: readonly CollectiveSample[]): Fit {
  let [n, sx, sy, sxx, sxy] = [0, 0, 0, 0, 0];
  for (const { sizeBytes, timeMs } of samples) {
    const weight = 1 / (timeMs * timeMs);
    n += weight;
    sx += weight * sizeBytes;
    sy += weight * timeMs;
    sxx += weight * sizeBytes * sizeBytes;
    sxy += weight * sizeBytes * timeMs;
  }
  const determinant = n * sxx - sx * sx;
  const slope = determinant > 0 ? (n * sxy - sx * sy) / determinant : 0;
  const latencyMs = Math.max(0, (sy - slope * sx) / n);
  // A line through the origin where latency would come out negative, or one message size alone was measured.
  const msPerByte = latencyMs > 0 && slope > 0 ? slope : sy / sx;
  return { latencyMs: slope > 0 ? latencyMs : 0, gbps: 1 / msPerByte / 1e6 };
}

/** Bytes of the whole tensor over time, in 10^9 bytes per second. */
function bandwidthGBps(sample: CollectiveSample): number {
  return Number((sample.sizeBytes / sample.timeMs / 1e6).toPrecision(4));
}

function flops(sample: MatmulSample): number {
  return 2 * sample.m * sample.k * sample.n;
}

function groupBy<T>(items: readonly T[], key: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) groups.set(key(item), [...(groups.get(key(item)) ?? []), item]);
  return groups;
}
