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

/**
 * Shape of a group of `ranks` ranks `stride` apart that starts at the first rank of a node (or of an aligned part
 * of one), while every other rank of those nodes is busy in a group of the same shape.
 */
export function groupShape(cluster: Cluster, ranks: number, stride: number): GroupShape {
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
