/** What watched.worker.ts says of its GPU, and what it can be told. */

/** Buffers by their labels, which onnxruntime-web's own have not. */
export type GpuEvent =
  | { kind: "read" | "create" | "write"; label: string }
  | { kind: "step"; step: number };

export interface WatchOrder {
  /** Loses the GPU when this step was reported. */
  destroyAfterStep?: number;
}

export const watchChannel = "brushlet-gpu-watch";
