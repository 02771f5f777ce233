/**
 * The exact low-rank forms of LoRA, LoHa and LoKr, rounded as runtime/adapters.py and products.py
 * round: float32 between the steps. Only sums of matrix products may differ in their last bit, since
 * here they run in float64.
 */

import type { Floats } from "./tensorfile";

type Float32 = Float32Array<ArrayBuffer>;

/** A slot's adapter as graphs take it: `A [ins, rank]`, `B [rank, outs]`, alpha / rank in B. */
export interface LowRank {
  rank: number;
  A: Float32;
  B: Float32;
}

/** A row-major matrix. */
export interface Matrix {
  rows: number;
  columns: number;
  data: Floats;
}

export function matrix(rows: number, columns: number, data: Floats): Matrix {
  return { rows, columns, data };
}

/** In float32. */
export function wide({ rows, columns, data }: Matrix): Matrix {
  return matrix(rows, columns, data instanceof Float32Array ? data : new Float32Array(data));
}

export function transposed({ rows, columns, data }: Matrix): Matrix {
  const turned = data.slice();
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      turned[column * rows + row] = data[row * columns + column] as number;
    }
  }
  return matrix(columns, rows, turned);
}

export function identity(size: number): Matrix {
  const data = new Float32Array(size * size);
  for (let i = 0; i < size; i++) data[i * size + i] = 1;
  return matrix(size, size, data);
}

/** `left @ right`, summed in float64 and rounded once. */
export function product(left: Matrix, right: Matrix): Matrix {
  const data = new Float32Array(left.rows * right.columns);
  const sums = new Float64Array(right.columns);
  for (let row = 0; row < left.rows; row++) {
    sums.fill(0);
    for (let inner = 0; inner < left.columns; inner++) {
      const factor = left.data[row * left.columns + inner] as number;
      const offset = inner * right.columns;
      for (let column = 0; column < right.columns; column++) {
        (sums[column] as number) += factor * (right.data[offset + column] as number);
      }
    }
    data.set(sums, row * right.columns);
  }
  return matrix(left.rows, right.columns, data);
}

/** Elementwise, in float32. */
export function times(left: Matrix, right: Matrix): Matrix {
  const data = new Float32Array(left.data);
  for (let i = 0; i < data.length; i++) (data[i] as number) *= right.data[i] as number;
  return matrix(left.rows, left.columns, data);
}

export function scaledBy(scale: number, { rows, columns, data }: Matrix): Matrix {
  const factor = Math.fround(scale);
  const multiplied = new Float32Array(data);
  for (let i = 0; i < multiplied.length; i++) (multiplied[i] as number) *= factor;
  return matrix(rows, columns, multiplied);
}

/** `left [a, c]` and `right [b, d]` to `[a * b, c * d]`. */
export function kronecker(left: Matrix, right: Matrix): Matrix {
  const columns = left.columns * right.columns;
  const data = new Float32Array(left.rows * right.rows * columns);
  let at = 0;
  for (let a = 0; a < left.rows; a++) {
    for (let b = 0; b < right.rows; b++) {
      for (let c = 0; c < left.columns; c++) {
        const factor = left.data[a * left.columns + c] as number;
        for (let d = 0; d < right.columns; d++) {
          data[at++] = factor * (right.data[b * right.columns + d] as number);
        }
      }
    }
  }
  return matrix(left.rows * right.rows, columns, data);
}

/** Row by row: `left [n, c]` and `right [n, d]` to `[n, c * d]`, the face-splitting product. */
export function rowwise(left: Matrix, right: Matrix): Matrix {
  const columns = left.columns * right.columns;
  const data = new Float32Array(left.rows * columns);
  let at = 0;
  for (let row = 0; row < left.rows; row++) {
    for (let c = 0; c < left.columns; c++) {
      const factor = left.data[row * left.columns + c] as number;
      for (let d = 0; d < right.columns; d++) {
        data[at++] = factor * (right.data[row * right.columns + d] as number);
      }
    }
  }
  return matrix(left.rows, columns, data);
}

/**
 * A Tucker core `[rank, rank, kh, kw]` folded into `down [rank, channels]`.
 *
 * @param area kh * kw
 * @returns `[rank, channels * kh * kw]`
 */
export function withCore(core: Floats, down: Matrix, area: number): Matrix {
  const rank = down.rows;
  const data = new Float32Array(rank * down.columns * area);
  for (let row = 0; row < rank; row++) {
    // The core's slice [rank, area], turned, times down: [area, channels].
    const slice = new Float32Array(core.subarray(row * rank * area, (row + 1) * rank * area));
    const sums = transposed(product(transposed(matrix(rank, area, slice)), wide(down)));
    data.set(sums.data, row * down.columns * area);
  }
  return matrix(rank, down.columns * area, data);
}

/**
 * A = down^T, B = scale * up^T, for `up [outs, rank]` and `down [rank, ins]`, each rank's size spread
 * evenly over both by a power of two. That is exact. Packs are fp16, and a small scale (alpha 1 at rank
 * 128), or the product of two small factors, would leave B below its normal numbers (6e-5).
 */
export function lowRankOf(up: Matrix, down: Matrix, scale: number): LowRank {
  const rank = down.rows;
  const A = wide(transposed(down)).data as Float32;
  const turned = transposed(up).data;
  const B = new Float32Array(turned.length);
  for (let i = 0; i < B.length; i++) B[i] = scale * (turned[i] as number);
  const ins = A.length / rank;
  const outs = B.length / rank;
  for (let j = 0; j < rank; j++) {
    let largestA = 0;
    let largestB = 0;
    for (let i = 0; i < ins; i++)
      largestA = Math.max(largestA, Math.abs(A[i * rank + j] as number));
    for (let i = 0; i < outs; i++)
      largestB = Math.max(largestB, Math.abs(B[j * outs + i] as number));
    const ratio = Math.fround(largestB / largestA);
    if (!(ratio > 0) || !Number.isFinite(largestA) || !Number.isFinite(largestB)) continue;
    const power = 2 ** roundedToEven(Math.fround(Math.log2(ratio)) / 2);
    for (let i = 0; i < ins; i++) (A[i * rank + j] as number) *= power;
    for (let i = 0; i < outs; i++) (B[j * outs + i] as number) /= power;
  }
  return { rank, A, B };
}

/** To the nearest whole number, halves to the even one, as NumPy rounds. */
function roundedToEven(value: number): number {
  const below = Math.floor(value);
  if (value - below !== 0.5) return Math.round(value);
  return below % 2 === 0 ? below : below + 1;
}
