import type { CollectiveSample, HardwareProfile, MatmulSample } from "../cluster/hardware-profile.js";
import { axis, baseLayout, type Figure, type ScatterTrace } from "./figure.js";
import { strategyColor } from "./palette.js";

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
  const groups = groupBy(
    profile.collectives,
    (s) =>
      `${NAMES[s.collective]}, ${s.ranks} ranks${s.nodes > 1 ? `, ${s.nodes} nodes` : ""}${s.stride > 1 ? ", strided" : ""}`,
  );
  const collectives = [...groups].flatMap(([name, samples], index): ScatterTrace[] => {
    const sorted = [...samples].sort((a, b) => a.sizeBytes - b.sizeBytes);
    const { color } = strategyColor(index);
    const fit = fitLine(sorted);
    const words = `${name}: ${Number((fit.latencyMs * 1000).toPrecision(3))} µs + ${Number(fit.gbps.toPrecision(3))} GB/s`;
    return [
      {
        type: "scatter",
        mode: "markers",
        name,
        legendgroup: name,
        x: sorted.map((s) => s.sizeBytes),
        y: sorted.map(bandwidthGBps),
        marker: { color, size: 7, symbol: SYMBOLS[index % SYMBOLS.length]! },
        hovertemplate: `${name}: %{y} GB/s at %{x} bytes<extra></extra>`,
      },
      {
        type: "scatter",
        mode: "lines",
        name: words,
        legendgroup: name,
        showlegend: false,
        x: sorted.map((s) => s.sizeBytes),
        y: sorted.map((s) =>
          Number((s.sizeBytes / (fit.latencyMs * 1e6 + s.sizeBytes / fit.gbps)).toPrecision(4)),
        ),
        line: { color, width: 1.5 },
        hovertemplate: `${words}<extra></extra>`,
      },
    ];
  });
  const products = [...groupBy(profile.matmuls, (s) => `matrix product, ${s.dtype}`)].map(
    ([name, samples], index): ScatterTrace => {
      const sorted = [...samples].sort((a, b) => flops(a) - flops(b));
      return {
        type: "scatter",
        mode: "lines+markers",
        name,
        xaxis: "x2",
        yaxis: "y2",
        x: sorted.map(flops),
        y: sorted.map((s) => Number((flops(s) / s.timeMs / 1e6).toPrecision(4))),
        line: { color: index === 0 ? "#5B5B5B" : "#D55E00", width: 1.5 },
        marker: { color: index === 0 ? "#5B5B5B" : "#D55E00", size: 6, symbol: "diamond" },
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
      xaxis: axis("message, bytes", { type: "log", domain: [0, 0.45] }),
      yaxis: axis("GB/s", { rangemode: "tozero" }),
      xaxis2: axis("operations of one product", { type: "log", domain: [0.58, 1], anchor: "y2" }),
      yaxis2: axis("GFLOP/s", { rangemode: "tozero", anchor: "x2" }),
    },
  };
}

const SYMBOLS = ["circle", "square", "diamond", "x"] as const;

/** Latency and bandwidth that come nearest to the samples, each weighed by its own time: relative errors count. */
function fitLine(samples: readonly CollectiveSample[]): { latencyMs: number; gbps: number } {
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
