/**
 * The sums of a denoising loop, where the provider computes: in arrays on the CPU, or in buffers on
 * the GPU (gpu.ts), so that the loop is written once and nothing is copied between its steps.
 */

import { joined } from "./tensors";

/** Float32 numbers that stay where the arithmetic keeps them; only it looks inside. */
export interface Values {
  readonly length: number;
}

/** A weight, and what it is of. */
export type Part = readonly [values: Values, weight: number];

export interface Arithmetic {
  upload(values: Float32Array<ArrayBuffer>): Values;
  /** Sum of weight * values over one part or more, all of one length. */
  weightedSum(parts: readonly Part[]): Values;
  /** The same numbers `times` times in a row, as the rows of a batch. */
  repeat(values: Values, times: number): Values;
  /**
   * Classifier-free guidance (Ho and Salimans 2022): uncond + scale * (cond - uncond), in float32 at
   * each operation, as PyTorch has it.
   *
   * @param both `[uncond, cond]`
   */
  guide(both: Values, scale: number): Values;
  /**
   * Waits until all that was asked is computed. Nothing is read back.
   *
   * @throws ProviderFailure when the device was lost or ran out of memory on the way
   */
  settled(): Promise<void>;
  /** @throws ProviderFailure as `settled` */
  read(values: Values): Promise<Float32Array<ArrayBuffer>>;
  /** Whether all are finite; undefined where only reading them would tell. */
  isFinite(values: Values): boolean | undefined;
  /** Gives back what is not needed any more. */
  free(values: Values): void;
}

/** On the CPU: sums are taken in float64 and stored in float32. */
export const arrays: Arithmetic = {
  upload: (values) => values,

  weightedSum(parts) {
    const [first] = parts;
    const sum = new Float64Array(first?.[0].length ?? 0);
    for (const [values, weight] of parts) {
      const array = asArray(values);
      for (let i = 0; i < sum.length; i++)
        sum[i] = (sum[i] as number) + weight * (array[i] as number);
    }
    return Float32Array.from(sum);
  },

  repeat: (values, times) => joined(...Array<Float32Array>(times).fill(asArray(values))),

  guide(both, scale) {
    const array = asArray(both);
    const uncond = array.subarray(0, array.length / 2);
    const cond = array.subarray(array.length / 2);
    return uncond.map((u, i) => {
      const difference = Math.fround((cond[i] as number) - u);
      return u + Math.fround(scale * difference);
    });
  },

  async settled() {},
  read: async (values) => asArray(values),
  isFinite: (values) => asArray(values).every(Number.isFinite),
  free() {},
};

function asArray(values: Values): Float32Array<ArrayBuffer> {
  if (values instanceof Float32Array) return values as Float32Array<ArrayBuffer>;
  throw new Error("values of another arithmetic");
}
