/** The machines that train: equal nodes of equal devices. */
export interface Cluster {
  /** For people: "this machine", "hgx-h100". */
  readonly name: string;
  readonly device: "host" | "cuda";
  /** What the device calls itself: "AMD EPYC 7B13", "NVIDIA H100 80GB HBM3". */
  readonly deviceName: string;
  readonly nodes: number;
  readonly ranksPerNode: number;
  /** Bytes that one rank may use, in all. */
  readonly memoryBytesPerRank: number;
}
