/** How sessions of a provider are fed, and where they leave what they compute. */

import type { Tensor as OrtTensor } from "onnxruntime-web";
import { type Arithmetic, arrays, type Values } from "./arithmetic";
import { drain } from "./drain";
import { asFailure } from "./failures";
import { GpuArithmetic, GpuValues } from "./gpu";
import { type Ort, onGpu, type ProviderName } from "./runtimes";
import type { Tensor } from "./safetensors";

export interface Feeding {
  math: Arithmetic;
  /**
   * A tensor that stays from run to run under a name. On the GPU one of the same shape is rewritten
   * in place, and one of the very array that lies there already costs nothing: arrays given here are
   * not changed afterwards.
   */
  keep(name: string, tensor: Tensor): OrtTensor;
  /** A scalar that is another at each step, as `[1]`. */
  scalar(value: number): OrtTensor;
  /** What the arithmetic holds, as an input. */
  feed(values: Values, shape: readonly number[]): OrtTensor;
  /** An output, for the arithmetic. */
  take(output: OrtTensor): Promise<Values>;
  /** Runs a session; its outputs are then there for the arithmetic. @throws ProviderFailure */
  run<T>(work: () => Promise<T>): Promise<T>;
  /** Frees the kept tensors. */
  dispose(): void;
}

/** @param ort has opened a session on the provider: only then there is its GPU device */
export async function feedingOf(ort: Ort, provider: ProviderName): Promise<Feeding> {
  if (!onGpu(provider)) return new ArrayFeeding(ort);
  const device = await ort.env.webgpu.device;
  return new BufferFeeding(ort, GpuArithmetic.on(device), provider === "jsep");
}

class ArrayFeeding implements Feeding {
  readonly math = arrays;

  constructor(private readonly ort: Ort) {}

  keep(_name: string, { data, shape }: Tensor): OrtTensor {
    return new this.ort.Tensor("float32", data, shape);
  }

  scalar(value: number): OrtTensor {
    return new this.ort.Tensor("float32", Float32Array.of(value), [1]);
  }

  feed(values: Values, shape: readonly number[]): OrtTensor {
    return new this.ort.Tensor("float32", values as Float32Array, shape);
  }

  async take(output: OrtTensor): Promise<Values> {
    return (await output.getData()) as Float32Array;
  }

  async run<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (thrown) {
      throw asFailure(thrown);
    }
  }

  dispose(): void {}
}

/** What `drain` computes with. */
const one: Tensor = { data: Float32Array.of(1), shape: [1] };

interface Kept {
  tensor: OrtTensor;
  buffer: GPUBuffer;
  data: Float32Array;
}

class BufferFeeding implements Feeding {
  private readonly kept = new Map<string, Kept>();

  constructor(
    private readonly ort: Ort,
    readonly math: GpuArithmetic,
    /** Whether a run may leave commands unsubmitted (drain.ts). */
    private readonly holdsBack: boolean,
  ) {}

  keep(name: string, { data, shape }: Tensor): OrtTensor {
    let kept = this.kept.get(name);
    if (kept?.data === data) return kept.tensor;
    if (kept?.tensor.dims.join() !== shape.join()) {
      kept?.buffer.destroy();
      const buffer = this.math.createBuffer(data.byteLength, name);
      kept = { tensor: this.tensor(buffer, shape), buffer, data };
      this.kept.set(name, kept);
    }
    kept.data = data;
    this.math.device.queue.writeBuffer(kept.buffer, 0, data);
    return kept.tensor;
  }

  scalar(value: number): OrtTensor {
    return this.keep("timestep", { data: Float32Array.of(value), shape: [1] });
  }

  feed(values: Values, shape: readonly number[]): OrtTensor {
    return this.tensor((values as GpuValues).buffer, shape);
  }

  async take(output: OrtTensor): Promise<Values> {
    return new GpuValues(output.gpuBuffer, output.size, () => letGo(output));
  }

  async run<T>(work: () => Promise<T>): Promise<T> {
    try {
      const result = await this.math.orLost(work());
      if (this.holdsBack) await this.math.orLost(drain(this.ort, this.keep("drain", one)));
      return result;
    } catch (thrown) {
      throw asFailure(thrown);
    }
  }

  dispose(): void {
    for (const { buffer } of this.kept.values()) buffer.destroy();
    this.kept.clear();
  }

  private tensor(buffer: GPUBuffer, dims: readonly number[]): OrtTensor {
    return this.ort.Tensor.fromGpuBuffer(buffer, { dataType: "float32", dims: [...dims] });
  }
}

/** Frees a tensor; where its provider has fallen over there is nothing to free. */
export function letGo(tensor: OrtTensor): void {
  try {
    tensor.dispose();
  } catch {
    // the failure itself was heard of where it happened
  }
}
