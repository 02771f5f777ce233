/**
 * JSEP submits its commands 16 kernels at a time and keeps the rest of a run back until somebody
 * reads from the GPU (onnxruntime-web 1.30, backend-webgpu.ts, `maxDispatchNumber`). Who wants to
 * compute with an output on the GPU would see it unfinished, and may not read. So that all of a run
 * is submitted, as many kernels follow it: a graph of 16 negations of one number.
 */

import type { InferenceSession, Tensor as OrtTensor } from "onnxruntime-web";
import type { Ort } from "./runtimes";

const KERNELS = 16;

const sessions = new WeakMap<Ort, Promise<InferenceSession>>();

/** @param one a float32 tensor `[1]` on the GPU */
export async function drain(ort: Ort, one: OrtTensor): Promise<void> {
  let opening = sessions.get(ort);
  if (!opening) {
    opening = ort.InferenceSession.create(negations(), {
      executionProviders: ["webgpu"],
      preferredOutputLocation: "gpu-buffer",
    });
    sessions.set(ort, opening);
  }
  const session = await opening;
  for (const output of Object.values(await session.run({ x0: one }))) output.dispose();
}

/** The graph in ONNX's protobuf form (onnx.proto3): x1 = -x0, x2 = -x1, ... */
export function negations(): Uint8Array<ArrayBuffer> {
  const nodes = Array.from({ length: KERNELS }, (_, i) =>
    field(1, [...text(1, `x${i}`), ...text(2, `x${i + 1}`), ...text(4, "Neg")]),
  );
  const graph = [
    ...nodes.flat(),
    ...text(2, "drain"),
    ...field(11, floatVector("x0")),
    ...field(12, floatVector(`x${KERNELS}`)),
  ];
  const opset = [...text(1, ""), ...number(2, 13)];
  return Uint8Array.from([...number(1, 8), ...field(8, opset), ...field(7, graph)]);
}

/** ValueInfoProto of float32 `[1]`. */
function floatVector(name: string): number[] {
  const dimension = field(1, number(1, 1));
  const tensor = [...number(1, 1), ...field(2, dimension)];
  return [...text(1, name), ...field(2, field(1, tensor))];
}

const text = (id: number, value: string) => field(id, [...new TextEncoder().encode(value)]);
const number = (id: number, value: number) => [id << 3, ...varint(value)];
const field = (id: number, bytes: readonly number[]) => [
  (id << 3) | 2,
  ...varint(bytes.length),
  ...bytes,
];

function varint(value: number): number[] {
  return value < 128 ? [value] : [(value & 127) | 128, ...varint(value >> 7)];
}
