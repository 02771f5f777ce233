/** Builders of bytes for the tests. */

export const fromBase64 = (text: string) => new Uint8Array(Buffer.from(text, "base64"));

/** A safetensors file with this header text, true or not, and this body. */
export function safetensors(
  header: string,
  body: Uint8Array = new Uint8Array(),
): Uint8Array<ArrayBuffer> {
  const text = new TextEncoder().encode(header);
  const file = new Uint8Array(8 + text.length + body.length);
  new DataView(file.buffer).setUint32(0, text.length, true);
  file.set(text, 8);
  file.set(body, 8 + text.length);
  return file;
}

/** A file that says of itself what is true: named float32 tensors and metadata. */
export function floatFile(
  tensors: Record<string, { shape: number[]; data: ArrayLike<number> }>,
  metadata?: Record<string, string>,
): Uint8Array<ArrayBuffer> {
  const header: Record<string, unknown> = metadata ? { __metadata__: metadata } : {};
  const parts: number[] = [];
  for (const [name, { shape, data }] of Object.entries(tensors)) {
    const begin = parts.length;
    parts.push(...new Uint8Array(Float32Array.from(data).buffer));
    header[name] = { dtype: "F32", shape, data_offsets: [begin, parts.length] };
  }
  return safetensors(JSON.stringify(header), Uint8Array.from(parts));
}
