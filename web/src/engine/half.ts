/** 16-bit floats to float32. JavaScript's own Float16Array is too young to count on. */

/** Every IEEE 754 binary16 value, by bits. Built on first use: 65,536 values, 256 KiB. */
let values: Float32Array | undefined;

/** @param bits binary16 values; subnormals, infinities and NaN are kept. */
export function halfToFloat32(bits: Uint16Array): Float32Array<ArrayBuffer> {
  values ??= Float32Array.from({ length: 0x10000 }, (_, half) => halfValue(half));
  const floats = new Float32Array(bits.length);
  for (let i = 0; i < bits.length; i++) floats[i] = values[bits[i] as number] as number;
  return floats;
}

/** @param bits bfloat16 values: the upper halves of float32 values. */
export function bfloat16ToFloat32(bits: Uint16Array): Float32Array<ArrayBuffer> {
  return new Float32Array(Uint32Array.from(bits, (upper) => upper << 16).buffer);
}

function halfValue(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const mantissa = bits & 0x3ff;
  if (exponent === 0x1f) return mantissa ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  if (exponent === 0) return sign * mantissa * 2 ** -24;
  return sign * (1 + mantissa / 1024) * 2 ** (exponent - 15);
}

/** binary16 bits of float32 values, to the nearest, ties to even; beyond 65504 infinities. */
export function float32ToHalf(floats: Float32Array<ArrayBuffer>): Uint16Array<ArrayBuffer> {
  const bits = new Uint32Array(floats.buffer, floats.byteOffset, floats.length);
  const halves = new Uint16Array(bits.length);
  for (let i = 0; i < bits.length; i++) halves[i] = halfBits(bits[i] as number);
  return halves;
}

function halfBits(bits: number): number {
  const sign = (bits >>> 16) & 0x8000;
  const exponent = ((bits >>> 23) & 0xff) - 112; // the bias is 127 there, and 15 here
  const mantissa = bits & 0x7fffff;
  if (exponent === 143) return sign | 0x7c00 | (mantissa ? 0x200 : 0); // infinity or NaN
  if (exponent >= 31) return sign | 0x7c00;
  if (exponent < -10) return sign;
  // A carry out of the mantissa is the next exponent, or infinity: what it should be.
  if (exponent > 0) return sign | rounded((exponent << 23) | mantissa, 13);
  return sign | rounded(0x800000 | mantissa, 14 - exponent);
}

/** `value / 2 ** shift`, to the nearest, ties to even. */
function rounded(value: number, shift: number): number {
  const kept = value >>> shift;
  const rest = value & ((1 << shift) - 1);
  const half = 1 << (shift - 1);
  return rest > half || (rest === half && kept & 1) ? kept + 1 : kept;
}
