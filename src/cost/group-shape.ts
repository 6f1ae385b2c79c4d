import type { Cluster } from "../cluster/cluster.js";
import type { Strategy } from "../plan/strategy.js";

/** Where a group of ranks lies in the machine: all that the time of its collectives depends on. */
export interface GroupShape {
  readonly ranks: number;
  /** Distance between neighbours. */
  readonly stride: number;
  /** Nodes that the group spans. */
  readonly nodes: number;
  /** Groups of this shape that share those nodes and are busy at the same time. */
  readonly concurrentGroups: number;
}

const shapes = new WeakMap<Cluster, Map<number, GroupShape>>();
/** Strides fit below this: ranks and stride make one number. */
const STRIDES = 2 ** 20;

/**
 * Shape of a group of `ranks` ranks `stride` apart that starts at the first rank of a node (or of an aligned part
 * of one), while every other rank of those nodes is busy in a group of the same shape.
 */
export function groupShape(cluster: Cluster, ranks: number, stride: number): GroupShape {
  let known = shapes.get(cluster);
  if (!known) {
    known = new Map();
    shapes.set(cluster, known);
  }
  const key = ranks * STRIDES + stride;
  let shape = known.get(key);
  if (!shape) {
    shape = findShape(cluster, ranks, stride);
    known.set(key, shape);
  }
  return shape;
}

function findShape(cluster: Cluster, ranks: number, stride: number): GroupShape {
  const total = cluster.nodes * cluster.ranksPerNode;
  const nodes =
    stride >= cluster.ranksPerNode ? ranks : Math.ceil((ranks * stride) / cluster.ranksPerNode) || 1;
  const ranksOfNodes = Math.min(total, nodes * cluster.ranksPerNode);
  return { ranks, stride, nodes, concurrentGroups: Math.max(1, Math.floor(ranksOfNodes / ranks)) };
}

/** The ranks that share one layer's tensor collectives. */
export function tensorGroup(cluster: Cluster, strategy: Strategy): GroupShape {
  const stride = strategy.placement === "consecutive" ? 1 : strategy.dataDegree;
  return groupShape(cluster, strategy.tensorDegree, stride);
}

/** The ranks that hold the same parameters and share their states: data ranks, and the whole stage under Ulysses. */
export function stateGroup(cluster: Cluster, strategy: Strategy): GroupShape {
  if (strategy.tensorSplit === "sequence") {
    return groupShape(cluster, strategy.tensorDegree * strategy.dataDegree, 1);
  }
  const stride = strategy.placement === "consecutive" ? strategy.tensorDegree : 1;
  return groupShape(cluster, strategy.dataDegree, stride);
}
