/**
 * A safetensors file that a visitor brings: its tensors are read one by one, so that a large file is
 * never in memory whole, and what is no safetensors file is told by how it begins (runtime/tensors.py).
 */

import { bfloat16ToFloat32, halfToFloat32 } from "./half";
import { EngineProblem } from "./problems";
import { type Entry, headerSize, type Refuse, readHeader } from "./safetensors";

/** What is not float32 or float64 in a file is widened. */
export type Floats = Float32Array<ArrayBuffer> | Float64Array<ArrayBuffer>;

interface Reader {
  bytes: number;
  isFloat?: true;
  read(buffer: ArrayBuffer): Floats;
}

const whole = (bytes: number, read: (buffer: ArrayBuffer) => ArrayLike<number | bigint>) => ({
  bytes,
  read: (buffer: ArrayBuffer) => Float64Array.from(Array.from(read(buffer), Number)),
});

/** dtype -> how its elements are read; alphas are of any of them. */
const READERS: Record<string, Reader> = {
  F64: { bytes: 8, isFloat: true, read: (buffer) => new Float64Array(buffer) },
  F32: { bytes: 4, isFloat: true, read: (buffer) => new Float32Array(buffer) },
  F16: { bytes: 2, isFloat: true, read: (buffer) => halfToFloat32(new Uint16Array(buffer)) },
  BF16: { bytes: 2, isFloat: true, read: (buffer) => bfloat16ToFloat32(new Uint16Array(buffer)) },
  I64: whole(8, (buffer) => new BigInt64Array(buffer)),
  I32: whole(4, (buffer) => new Int32Array(buffer)),
  I16: whole(2, (buffer) => new Int16Array(buffer)),
  I8: whole(1, (buffer) => new Int8Array(buffer)),
  U64: whole(8, (buffer) => new BigUint64Array(buffer)),
  U32: whole(4, (buffer) => new Uint32Array(buffer)),
  U16: whole(2, (buffer) => new Uint16Array(buffer)),
  U8: whole(1, (buffer) => new Uint8Array(buffer)),
  BOOL: whole(1, (buffer) => new Uint8Array(buffer).map((byte) => (byte ? 1 : 0))),
};

const AGAIN = "Download or save the file again";
const PICKLE =
  "is a Python pickle, and opening a pickle can run any code its author put in; get the .safetensors version";
const WEB_PAGE =
  "is a web page or an error message that was saved as a file; the download failed or needs a login";
/** How files begin that are often taken for safetensors. */
const OTHERS: readonly [string, string][] = [
  ["PK\u0003\u0004", PICKLE],
  ["\u0080", PICKLE],
  ["version https://git-lfs", "is a git-lfs pointer, not the file itself; run `git lfs pull`"],
  ["<", WEB_PAGE],
  ["{", WEB_PAGE],
  ["GGUF", "is a GGUF file, not safetensors; get the .safetensors version"],
];

/** One tensor of the file, not read yet. */
export interface StoredTensor {
  key: string;
  shape: readonly number[];
  dtype: string;
  /** Whether its elements are floats. */
  isFloat: boolean;
}

export class TensorFile {
  readonly tensors: ReadonlyMap<string, StoredTensor>;

  private constructor(
    private readonly blob: Blob,
    private readonly begin: number,
    private readonly entries: ReadonlyMap<string, Entry>,
    readonly metadata: ReadonlyMap<string, string>,
    private readonly refuse: Refuse,
  ) {
    this.tensors = new Map(
      [...entries].map(([key, { shape, dtype }]) => [
        key,
        { key, shape, dtype, isFloat: readerOf(dtype).isFloat === true },
      ]),
    );
  }

  /**
   * Reads the header.
   *
   * @param where what to call the file in messages
   * @throws EngineProblem `lora`: anything that the format forbids, another format, empty tensors,
   *   duplicate or path-like names
   */
  static async open(blob: Blob, where: string): Promise<TensorFile> {
    const refuse = (what: string) => new EngineProblem("lora", `${where} ${what}.`, where);
    const start = await bytesOf(blob, 0, Math.min(32, blob.size), refuse);
    refuseOtherFormats(start, blob.size, refuse);
    const size = headerSize(start, refuse);
    if (8 + size > blob.size) throw refuse(`is cut short within its header. ${AGAIN}`);
    const text = await bytesOf(blob, 8, 8 + size, refuse);
    const length = blob.size - 8 - size;
    const { entries, metadata } = readHeader(text, length, READERS, refuse);
    const byName = new Map(entries.map((entry) => [entry.name, entry]));
    return new TensorFile(blob, 8 + size, byName, metadata, refuse);
  }

  /** @throws EngineProblem `lora`: NaN or infinity, or the browser can no longer read the file */
  async read({ key }: StoredTensor): Promise<Floats> {
    const { dtype, begin, end } = this.entries.get(key) as Entry;
    const bytes = await bytesOf(this.blob, this.begin + begin, this.begin + end, this.refuse);
    const values = readerOf(dtype).read(bytes.buffer);
    if (!values.every(Number.isFinite)) {
      throw this.refuse(
        `holds NaN or infinity in tensor "${key}": the training that made it diverged. ` +
          "Use an earlier epoch or a lower learning rate",
      );
    }
    return values;
  }
}

async function bytesOf(
  blob: Blob,
  begin: number,
  end: number,
  refuse: Refuse,
): Promise<Uint8Array<ArrayBuffer>> {
  try {
    return new Uint8Array(await blob.slice(begin, end).arrayBuffer());
  } catch {
    throw refuse("can no longer be read: it was changed or moved. Drop it again");
  }
}

function refuseOtherFormats(start: Uint8Array, size: number, refuse: Refuse): void {
  if (size === 0) throw refuse(`is empty. ${AGAIN}`);
  // A header's first byte; a length may look like any magic number.
  if (start[8] === "{".charCodeAt(0)) return;
  const text = String.fromCharCode(...start).trimStart();
  for (const [magic, what] of OTHERS) if (text.startsWith(magic)) throw refuse(what);
  if (size < 10) throw refuse(`is cut short: it has ${size} bytes. ${AGAIN}`);
  throw refuse(`is not a safetensors file. ${AGAIN}`);
}

function readerOf(dtype: string): Reader {
  return READERS[dtype] as Reader;
}
