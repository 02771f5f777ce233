/** 16-bit floats to float32. JavaScript's own Float16Array is too young to count on. */

/** Every IEEE 754 binary16 value, by bits. Built on first use: 65,536 values, 256 KiB. */
let halves: Float32Array | undefined;

/** @param bits binary16 values; subnormals, infinities and NaN are kept. */
export function halfToFloat32(bits: Uint16Array): Float32Array<ArrayBuffer> {
  halves ??= Float32Array.from({ length: 0x10000 }, (_, value) => halfValue(value));
  const floats = new Float32Array(bits.length);
  for (let i = 0; i < bits.length; i++) floats[i] = halves[bits[i] as number] as number;
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
