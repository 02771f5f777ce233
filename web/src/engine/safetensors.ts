/**
 * Reads safetensors, believing nothing a file says about itself; the rules are those of
 * runtime/tensors.py.
 *
 * Format: https://github.com/huggingface/safetensors#format - eight bytes with the header's length
 * (little endian), a JSON header, then the tensors' bytes without gaps.
 */

import { bfloat16ToFloat32, halfToFloat32 } from "./half";
import { EngineProblem } from "./problems";
import { duplicateKey } from "./uniquekeys";

/** A float32 tensor, row-major. */
export interface Tensor {
  data: Float32Array<ArrayBuffer>;
  shape: number[];
}

export interface TensorFile {
  tensors: Map<string, Tensor>;
  metadata: Map<string, string>;
}

/** Bytes; the safetensors library's own limit. */
const MAX_HEADER = 100_000_000;
const MAX_DIMS = 8;
/** Printable ASCII without `/`, `\`, a leading dot or two dots together. */
const NAME = /^(?!\.)(?!.*\.\.)[ -.0-[\]-~]{1,512}$/;

/** How float tensors lie in a file. */
const FLOATS: Record<
  string,
  { bytes: number; read(bytes: ArrayBuffer): Float32Array<ArrayBuffer> }
> = {
  F32: { bytes: 4, read: (buffer) => new Float32Array(buffer) },
  F16: { bytes: 2, read: (buffer) => halfToFloat32(new Uint16Array(buffer)) },
  BF16: { bytes: 2, read: (buffer) => bfloat16ToFloat32(new Uint16Array(buffer)) },
};

/** dtype -> bytes of an element */
export type Dtypes = Readonly<Record<string, { bytes: number }>>;

/** Where a tensor lies: `begin` and `end` count from the first byte behind the header. */
export interface Entry {
  name: string;
  dtype: string;
  shape: number[];
  begin: number;
  end: number;
}

export interface Header {
  /** In the order of the file. */
  entries: Entry[];
  metadata: Map<string, string>;
}

/** Makes the problem of a file; `what` follows its name. */
export type Refuse = (what: string) => EngineProblem;

/**
 * All tensors of a safetensors file, as float32.
 *
 * @param file the whole file
 * @param where what to call it in messages
 * @throws EngineProblem `damaged`: anything the format forbids, and NaN, infinities, empty tensors,
 *   other dtypes than F32, F16 and BF16, duplicate or path-like names, which it allows
 */
export function parseSafetensors(file: Uint8Array, where: string): TensorFile {
  const refuse = (what: string) => new EngineProblem("damaged", `${where} ${what}.`, where);
  if (file.length < 10) throw refuse(`is cut short: it has ${file.length} bytes`);
  const size = headerSize(file, refuse);
  if (8 + size > file.length) throw refuse("is cut short within its header");
  const body = file.subarray(8 + size);
  const { entries, metadata } = readHeader(file.subarray(8, 8 + size), body.length, FLOATS, refuse);
  const tensors = new Map<string, Tensor>();
  for (const { name, dtype, shape, begin, end } of entries) {
    // A copy: tensors need not be aligned, and typed arrays must be.
    const { read } = FLOATS[dtype] as (typeof FLOATS)[string];
    const data = read(body.slice(begin, end).buffer);
    if (!data.every(Number.isFinite)) throw refuse(`holds NaN or infinity in tensor "${name}"`);
    tensors.set(name, { data, shape });
  }
  return { tensors, metadata };
}

/** Bytes of the header, of which the first eight bytes of a file tell. */
export function headerSize(start: Uint8Array, refuse: Refuse): number {
  const view = new DataView(start.buffer, start.byteOffset, start.byteLength);
  const size = view.getUint32(0, true) + view.getUint32(4, true) * 2 ** 32;
  if (size > MAX_HEADER) throw refuse("is not a safetensors file, or its header is too long");
  return size;
}

/**
 * A header that agrees with itself and with the bytes behind it.
 *
 * @param text the header's bytes
 * @param length bytes behind the header
 * @param dtypes those that the file may have
 */
export function readHeader(
  text: Uint8Array,
  length: number,
  dtypes: Dtypes,
  refuse: Refuse,
): Header {
  const { __metadata__, ...header } = parseHeader(text, refuse);
  const entries = Object.entries(header).map(([name, entry]) =>
    checkedEntry(name, entry, dtypes, refuse),
  );
  entries.sort((a, b) => a.begin - b.begin || a.end - b.end);
  let position = 0;
  for (const { name, begin, end } of entries) {
    if (begin !== position) throw refuse(`has a gap or an overlap before tensor "${name}"`);
    if (end > length) throw refuse(`is cut short within tensor "${name}"`);
    position = end;
  }
  if (position !== length) {
    throw refuse(`has ${length - position} bytes behind the last tensor`);
  }
  return { entries, metadata: checkedMetadata(__metadata__ ?? {}, refuse) };
}

function parseHeader(bytes: Uint8Array, refuse: Refuse): Record<string, unknown> {
  let text: string;
  let header: unknown;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    header = JSON.parse(text);
  } catch {
    throw refuse("has a header that is not JSON");
  }
  if (!isRecord(header)) throw refuse("has a header that is not a JSON object");
  const twice = duplicateKey(text);
  if (twice !== undefined) throw refuse(`has "${twice.slice(0, 100)}" twice in its header`);
  return header;
}

/** A header entry that agrees with itself. */
function checkedEntry(name: string, entry: unknown, dtypes: Dtypes, refuse: Refuse): Entry {
  if (!NAME.test(name)) {
    throw refuse("has a tensor whose name looks like a path or holds control characters");
  }
  const refuseTensor = (what: string) => refuse(`has a tensor "${name}" ${what}`);
  const fields = isRecord(entry) ? Object.keys(entry).sort().join() : "";
  if (!isRecord(entry) || fields !== "data_offsets,dtype,shape") {
    throw refuseTensor("that is not described by dtype, shape and data_offsets");
  }
  const { dtype, shape, data_offsets: span } = entry;
  const known = typeof dtype === "string" && Object.hasOwn(dtypes, dtype) && dtypes[dtype];
  if (!known) {
    const names = Object.keys(dtypes).join(", ");
    throw refuseTensor(`of dtype ${String(dtype).slice(0, 20)}; ${names} are read`);
  }
  if (!isSizes(shape) || shape.length > MAX_DIMS) {
    throw refuseTensor("whose shape is not a list of sizes");
  }
  const [begin, end] = isSizes(span) && span.length === 2 ? span : [];
  if (begin === undefined || end === undefined) {
    throw refuseTensor("whose data_offsets are not two positions");
  }
  const bytes = shape.reduce((product, width) => product * width, known.bytes);
  if (bytes === 0) throw refuseTensor("that is empty");
  if (end - begin !== bytes) {
    throw refuseTensor(`of shape [${shape}] and ${end - begin} bytes, which should be ${bytes}`);
  }
  return { name, dtype: dtype as string, shape, begin, end };
}

function checkedMetadata(metadata: unknown, refuse: Refuse): Map<string, string> {
  const pairs = isRecord(metadata) ? Object.entries(metadata) : [["", undefined] as const];
  return new Map(
    pairs.map(([key, value]) => {
      // A lone surrogate is no text: nothing could store it again.
      if (typeof value !== "string" || /\p{Surrogate}/u.test(key + value)) {
        throw refuse("has metadata that is not a table of texts");
      }
      return [key as string, value];
    }),
  );
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((size) => Number.isSafeInteger(size) && size >= 0);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
