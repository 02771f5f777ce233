/** Writes safetensors, the form in which tensors travel to the server. */

import type { WireTensor } from "../worker/protocol";

/**
 * Float32 tensors as one file.
 * Format: https://github.com/huggingface/safetensors#format; the header is padded with spaces to a
 * multiple of 8 bytes, so that the tensors are aligned.
 */
export function dumpSafetensors(tensors: Record<string, WireTensor>): Uint8Array<ArrayBuffer> {
  let end = 0;
  const entries = Object.entries(tensors).map(([name, { data, shape }]) => {
    const begin = end;
    end += data.byteLength;
    return [name, { dtype: "F32", shape, data_offsets: [begin, end] }] as const;
  });
  const text = JSON.stringify(Object.fromEntries(entries));
  const header = new TextEncoder().encode(text.padEnd(Math.ceil(text.length / 8) * 8));
  const file = new Uint8Array(8 + header.length + end);
  new DataView(file.buffer).setBigUint64(0, BigInt(header.length), true);
  file.set(header, 8);
  let at = 8 + header.length;
  for (const { data } of Object.values(tensors)) {
    // Typed arrays are little endian on every machine that has a browser, as the format wants.
    file.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), at);
    at += data.byteLength;
  }
  return file;
}
