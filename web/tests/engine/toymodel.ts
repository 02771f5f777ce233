import { arrays } from "../../src/engine/arithmetic";
import type { Denoiser } from "../../src/engine/denoise";

/** The denoiser of make_vectors.py: each row of the batch is shifted by its own embedding. */
export const toyModel: Denoiser = async (condition) => ({
  math: arrays,
  promptAlone: () => {
    const [rows = 1, ...rest] = condition.shape;
    const data = condition.data.slice((condition.data.length / rows) * (rows - 1));
    return toyModel({ data, shape: [1, ...rest] });
  },
  step: async (sample, [batch], timestep) => {
    const row = sample.length / (batch as number);
    return (sample as Float32Array).map((x, i) => {
      const shift = condition.data[Math.floor(i / row)] as number;
      return Math.tanh(0.7 * x + shift) + 0.1 * Math.sin(timestep / 100);
    });
  },
  dispose() {},
});
