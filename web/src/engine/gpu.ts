/** The sums of a denoising loop in GPU buffers, on the device that onnxruntime-web computes on. */

import type { Arithmetic, Part, Values } from "./arithmetic";
import { ProviderFailure } from "./failures";
import { messageOf } from "./problems";

/** As many as one pass adds up: with the result 5 of the 8 storage buffers that all devices offer. */
const PARTS = 4;
const WORKGROUP = 64;
const FLOAT = Float32Array.BYTES_PER_ELEMENT;

/**
 * Both kernels in one module. Elements are taken in strides, since a dimension of a dispatch ends at
 * 65535 workgroups. `add` continues a sum of more than four parts.
 */
const wgsl = `
struct Sum { weights: vec4f, count: u32, add: u32 }
@group(0) @binding(0) var<uniform> sum: Sum;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read> c: array<f32>;
@group(0) @binding(4) var<storage, read> d: array<f32>;
@group(0) @binding(5) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(${WORKGROUP})
fn weighted_sum(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  for (var i = id.x; i < sum.count; i += groups.x * ${WORKGROUP}) {
    var value = sum.weights.x * a[i];
    if (sum.weights.y != 0) { value += sum.weights.y * b[i]; }
    if (sum.weights.z != 0) { value += sum.weights.z * c[i]; }
    if (sum.weights.w != 0) { value += sum.weights.w * d[i]; }
    if (sum.add != 0) { value += out[i]; }
    out[i] = value;
  }
}

// a is [uncond, cond].
@compute @workgroup_size(${WORKGROUP})
fn guide(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  for (var i = id.x; i < sum.count; i += groups.x * ${WORKGROUP}) {
    out[i] = a[i] + sum.weights.x * (a[sum.count + i] - a[i]);
  }
}
`;

/** A buffer that holds float32 numbers from its start on; it may be longer than they are. */
export class GpuValues implements Values {
  constructor(
    readonly buffer: GPUBuffer,
    readonly length: number,
    /** Gives the buffer back to whom it belongs. */
    readonly release: () => void,
  ) {}
}

/** One for each device, since it keeps pipelines and buffers. */
const known = new WeakMap<GPUDevice, GpuArithmetic>();

export class GpuArithmetic implements Arithmetic {
  private readonly spare = new Map<number, GPUBuffer[]>();
  private readonly staging = new Map<number, GPUBuffer>();
  private readonly uniform: GPUBuffer;
  private readonly pipelines: { weightedSum: GPUComputePipeline; guide: GPUComputePipeline };
  /** Rejects when the device is lost; never resolves. */
  private readonly lost: Promise<never>;
  private error: ProviderFailure | undefined;

  static on(device: GPUDevice): GpuArithmetic {
    const math = known.get(device) ?? new GpuArithmetic(device);
    known.set(device, math);
    return math;
  }

  private constructor(readonly device: GPUDevice) {
    const { COPY_DST, UNIFORM } = GPUBufferUsage;
    this.uniform = device.createBuffer({ size: 32, usage: UNIFORM | COPY_DST });
    const module = device.createShaderModule({ code: wgsl });
    const pipeline = (entryPoint: string) =>
      device.createComputePipeline({ layout: "auto", compute: { module, entryPoint } });
    this.pipelines = { weightedSum: pipeline("weighted_sum"), guide: pipeline("guide") };
    this.lost = device.lost.then(({ reason, message }) => {
      throw new ProviderFailure("lost", message || `the GPU device was lost (${reason})`);
    });
    this.lost.catch(() => {}); // who waits for the GPU hears of it
    device.addEventListener("uncapturederror", ({ error }) => {
      const kind = error instanceof GPUOutOfMemoryError ? "memory" : "failed";
      this.error ??= new ProviderFailure(kind, error.message);
    });
  }

  upload(values: Float32Array<ArrayBuffer>): GpuValues {
    const uploaded = this.take(values.length);
    this.device.queue.writeBuffer(uploaded.buffer, 0, values);
    return uploaded;
  }

  weightedSum(parts: readonly Part[]): GpuValues {
    const sum = this.take(parts[0]?.[0].length ?? 0);
    for (let start = 0; start < parts.length; start += PARTS) {
      const some = parts.slice(start, start + PARTS);
      // What is not used is bound too; its weight 0 says that it is not read.
      const inputs = Array.from({ length: PARTS }, (_, i) => own((some[i] ?? some[0])?.[0]));
      const weights = Array.from({ length: PARTS }, (_, i) => some[i]?.[1] ?? 0);
      this.dispatch(this.pipelines.weightedSum, inputs, sum, weights, start > 0);
    }
    return sum;
  }

  repeat(values: Values, times: number): GpuValues {
    const repeated = this.take(values.length * times);
    const encoder = this.device.createCommandEncoder();
    const bytes = values.length * FLOAT;
    for (let i = 0; i < times; i++) {
      encoder.copyBufferToBuffer(own(values).buffer, 0, repeated.buffer, i * bytes, bytes);
    }
    this.device.queue.submit([encoder.finish()]);
    return repeated;
  }

  guide(both: Values, scale: number): GpuValues {
    const guided = this.take(both.length / 2);
    this.dispatch(this.pipelines.guide, [own(both)], guided, [scale, 0, 0, 0], false);
    return guided;
  }

  async settled(): Promise<void> {
    await this.orLost(this.device.queue.onSubmittedWorkDone());
    const { error } = this;
    this.error = undefined;
    if (error) throw error;
  }

  async read(values: Values): Promise<Float32Array<ArrayBuffer>> {
    const bytes = values.length * FLOAT;
    const { COPY_DST, MAP_READ } = GPUBufferUsage;
    const staging =
      this.staging.get(bytes) ??
      this.device.createBuffer({ label: "read", size: bytes, usage: COPY_DST | MAP_READ });
    this.staging.delete(bytes); // a second read at the same time has its own
    const encoder = this.device.createCommandEncoder();
    encoder.copyBufferToBuffer(own(values).buffer, 0, staging, 0, bytes);
    this.device.queue.submit([encoder.finish()]);
    await this.orLost(staging.mapAsync(GPUMapMode.READ));
    const array = new Float32Array(staging.getMappedRange().slice(0));
    staging.unmap();
    this.staging.set(bytes, staging);
    await this.settled();
    return array;
  }

  isFinite(): undefined {}

  free(values: Values): void {
    own(values).release();
  }

  /** Waits for what the GPU is asked for, or until there is no GPU. @throws ProviderFailure */
  async orLost<T>(promise: Promise<T>): Promise<T> {
    try {
      return await Promise.race([promise, this.lost]);
    } catch (thrown) {
      if (thrown instanceof ProviderFailure) throw thrown;
      // What fails because the device is lost may be heard of before the loss itself.
      await Promise.race([this.lost, new Promise((resolve) => setTimeout(resolve, 100))]);
      throw thrown instanceof DOMException
        ? new ProviderFailure("failed", messageOf(thrown))
        : thrown;
    }
  }

  /** A storage buffer of at least this size that onnxruntime can be fed with. */
  createBuffer(bytes: number, label: string): GPUBuffer {
    const { COPY_DST, COPY_SRC, STORAGE } = GPUBufferUsage;
    // JSEP's kernels bind what they read as vectors, up to the next 16 bytes.
    const size = Math.ceil(bytes / 16) * 16;
    return this.device.createBuffer({ label, size, usage: STORAGE | COPY_SRC | COPY_DST });
  }

  /** A buffer from an earlier picture or step, where one is spare. */
  private take(length: number): GpuValues {
    const spare = this.spare.get(length) ?? [];
    this.spare.set(length, spare);
    const buffer = spare.pop() ?? this.createBuffer(length * FLOAT, "latents");
    return new GpuValues(buffer, length, () => spare.push(buffer));
  }

  private dispatch(
    pipeline: GPUComputePipeline,
    inputs: readonly GpuValues[],
    output: GpuValues,
    weights: readonly number[],
    add: boolean,
  ): void {
    const settings = new DataView(new ArrayBuffer(32));
    for (const [i, weight] of weights.entries()) settings.setFloat32(i * FLOAT, weight, true);
    settings.setUint32(16, output.length, true);
    settings.setUint32(20, Number(add), true);
    // Writes and submits are taken in order, so that one uniform buffer serves all.
    this.device.queue.writeBuffer(this.uniform, 0, settings.buffer);
    const entries = [
      { binding: 0, resource: { buffer: this.uniform } },
      ...inputs.map(({ buffer }, i) => ({ binding: i + 1, resource: { buffer } })),
      { binding: PARTS + 1, resource: { buffer: output.buffer } },
    ];
    const encoder = this.device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(
      0,
      this.device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries }),
    );
    pass.dispatchWorkgroups(Math.min(Math.ceil(output.length / WORKGROUP), 65535));
    pass.end();
    this.device.queue.submit([encoder.finish()]);
  }
}

function own(values: Values | undefined): GpuValues {
  if (values instanceof GpuValues) return values;
  throw new Error("values of another arithmetic");
}
