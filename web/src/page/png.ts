/**
 * Texts in PNG files: `tEXt`, `zTXt` and `iTXt` chunks (PNG specification, third edition, 11.3.3),
 * read from files of anybody and written into our own.
 */

const signature = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];

/** Bytes; a longer text is no prompt, and a compressed one may be a bomb. */
const longestText = 1 << 20;
/** Pictures have some dozens of chunks; a file of nothing but tiny ones is made to cost time. */
const mostChunks = 100_000;

/** A file that is no PNG, or one that is broken; `message` says what and where. */
export class PngProblem extends Error {
  override name = "PngProblem";
}

interface Chunk {
  type: string;
  data: Uint8Array;
  /** Of its length field, in the file. */
  offset: number;
}

/** CRC-32 of ISO 3309, bit by bit for each byte that there is. */
const table = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit += 1) crc = crc & 1 ? (crc >>> 1) ^ 0xedb8_8320 : crc >>> 1;
  return crc;
});

export function crc32(bytes: Uint8Array): number {
  let crc = 0xffff_ffff;
  for (const byte of bytes) crc = (table[(crc ^ byte) & 0xff] as number) ^ (crc >>> 8);
  return ~crc >>> 0;
}

/** Whether `bytes` begin as a PNG does. */
export function isPng(bytes: Uint8Array): boolean {
  return signature.every((byte, at) => bytes[at] === byte);
}

/**
 * The text that a PNG holds under `keyword`, the first of them; undefined where it has none. Only text
 * chunks are checked against their CRC: whether the pixels are sound is for whoever draws them.
 *
 * @throws PngProblem for a file that is no PNG, is cut short, or whose text is damaged or longer than
 *   1 MiB
 */
export async function readText(bytes: Uint8Array, keyword: string): Promise<string | undefined> {
  for (const chunk of chunksOf(bytes)) {
    if (!["tEXt", "zTXt", "iTXt"].includes(chunk.type)) continue;
    const end = chunk.data.subarray(0, 80).indexOf(0);
    if (end < 1 || latin1(chunk.data.subarray(0, end)) !== keyword) continue;
    checkCrc(bytes, chunk);
    return textIn(chunk, end);
  }
  return undefined;
}

/**
 * A PNG with `text` under `keyword`, in front of its pixels and in place of what stood there before.
 * It is written as Pillow, and so A1111, writes it: Latin-1 as `tEXt`, all else as UTF-8 in `iTXt`.
 *
 * @param keyword 1 to 79 letters of ASCII
 * @throws PngProblem for a file that is no whole PNG
 */
export function withText(
  bytes: Uint8Array<ArrayBuffer>,
  keyword: string,
  text: string,
): Uint8Array<ArrayBuffer> {
  const isOwn = ({ type, data }: Chunk) =>
    ["tEXt", "zTXt", "iTXt"].includes(type) && latin1(data).startsWith(`${keyword}\0`);
  const chunks = [...chunksOf(bytes)].filter((chunk) => !isOwn(chunk));
  const [header, ...others] = chunks;
  if (header?.type !== "IHDR") throw new PngProblem("The PNG does not begin with its IHDR chunk.");
  const whole = ({ offset, data }: Chunk) => bytes.subarray(offset, offset + 12 + data.length);
  const parts = [
    Uint8Array.from(signature),
    whole(header),
    textChunk(keyword, text),
    ...others.map(whole),
  ];
  const made = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    made.set(part, at);
    at += part.length;
  }
  return made;
}

/** The chunks of a PNG up to `IEND`; what stands behind it is none of its own. */
function* chunksOf(bytes: Uint8Array): Generator<Chunk> {
  if (!isPng(bytes)) throw new PngProblem("This is no PNG file.");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let offset = signature.length;
  for (let count = 0; count < mostChunks; count += 1) {
    if (offset + 12 > bytes.length) throw cutShort(offset);
    const length = view.getUint32(offset);
    const end = offset + 12 + length;
    if (end > bytes.length) throw cutShort(offset);
    const type = latin1(bytes.subarray(offset + 4, offset + 8));
    yield { type, data: bytes.subarray(offset + 8, end - 4), offset };
    if (type === "IEND") return;
    offset = end;
  }
  throw new PngProblem(`The PNG has more than ${mostChunks} chunks.`);
}

const cutShort = (offset: number) =>
  new PngProblem(`The PNG is cut short: its chunk at byte ${offset} has no end.`);

function checkCrc(bytes: Uint8Array, { type, data, offset }: Chunk): void {
  const end = offset + 8 + data.length;
  const told = new DataView(bytes.buffer, bytes.byteOffset).getUint32(end);
  if (crc32(bytes.subarray(offset + 4, end)) === told) return;
  throw new PngProblem(`The PNG's ${type} chunk at byte ${offset} is damaged: its CRC is wrong.`);
}

/** The text behind the keyword's zero byte at `end`. */
async function textIn({ type, data, offset }: Chunk, end: number): Promise<string> {
  const rest = data.subarray(end + 1);
  const broken = (what: string) =>
    new PngProblem(`The PNG's ${type} chunk at byte ${offset} cannot be read: ${what}.`);
  if (type === "tEXt") return latin1(short(rest, broken));
  if (type === "zTXt") {
    if (rest[0] !== 0) throw broken("its compression is unknown");
    return latin1(await inflate(rest.subarray(1), broken));
  }
  const [compressed, method] = rest;
  const language = rest.indexOf(0, 2);
  const translated = language < 0 ? -1 : rest.indexOf(0, language + 1);
  if (translated < 0 || compressed === undefined || compressed > 1) {
    throw broken("it is not of this form");
  }
  if (compressed && method !== 0) throw broken("its compression is unknown");
  const text = rest.subarray(translated + 1);
  const bytes = compressed ? await inflate(text, broken) : short(text, broken);
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw broken("it is not UTF-8");
  }
}

type Broken = (what: string) => PngProblem;

function short(bytes: Uint8Array, broken: Broken): Uint8Array {
  if (bytes.length > longestText) throw broken("it is longer than 1 MiB");
  return bytes;
}

async function inflate(bytes: Uint8Array, broken: Broken): Promise<Uint8Array> {
  const stream = new Blob([bytes.slice()]).stream();
  const reader = stream.pipeThrough(new DecompressionStream("deflate")).getReader();
  const parts: Uint8Array[] = [];
  let length = 0;
  for (;;) {
    const { done, value } = await reader.read().catch(() => {
      throw broken("its compressed text is damaged");
    });
    if (done) break;
    length += value.length;
    if (length > longestText) {
      void reader.cancel().catch(() => {});
      throw broken("it is longer than 1 MiB");
    }
    parts.push(value);
  }
  const whole = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function textChunk(keyword: string, text: string): Uint8Array {
  const isLatin1 = [...text].every((letter) => letter > "\0" && letter <= "\xff");
  const name = [...keyword, "\0"].map((letter) => letter.charCodeAt(0));
  const data = isLatin1
    ? Uint8Array.from([...name, ...Array.from(text, (letter) => letter.charCodeAt(0))])
    : // Not compressed, of no language, not translated.
      Uint8Array.from([...name, 0, 0, 0, 0, ...new TextEncoder().encode(text)]);
  const chunk = new Uint8Array(12 + data.length);
  const view = new DataView(chunk.buffer);
  const type = isLatin1 ? "tEXt" : "iTXt";
  view.setUint32(0, data.length);
  chunk.set(
    Array.from(type, (letter) => letter.charCodeAt(0)),
    4,
  );
  chunk.set(data, 8);
  view.setUint32(8 + data.length, crc32(chunk.subarray(4, 8 + data.length)));
  return chunk;
}

/** ISO 8859-1, byte for byte; TextDecoder's "latin1" is windows-1252. */
function latin1(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length; at += 8192) {
    text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  }
  return text;
}
