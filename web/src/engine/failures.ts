/** What ends a provider's work though nothing is wrong with the request: another one may go on. */

import { EngineProblem, messageOf } from "./problems";

export type FailureKind =
  | "lost" // the GPU was taken away: driver reset, another tab, sleep
  | "memory" // the GPU, or WebAssembly's 4 GiB, are full
  | "numbers" // NaN or infinity in a step
  | "failed"; // onnxruntime or the GPU refused a command

export class ProviderFailure extends Error {
  readonly kind: FailureKind;

  constructor(kind: FailureKind, message: string) {
    super(message);
    this.name = "ProviderFailure";
    this.kind = kind;
  }
}

/** How full memory is told: by JavaScript, Emscripten, C++ and WebGPU, in this order. */
const outOfMemory =
  /array buffer allocation|invalid (typed )?array length|out of memory|\boom\b|bad_alloc|failed to allocate/i;

/** What was thrown where a provider computes, told apart. */
export function asFailure(thrown: unknown): ProviderFailure {
  if (thrown instanceof ProviderFailure) return thrown;
  const message = messageOf(thrown);
  const full =
    outOfMemory.test(message) || (thrown instanceof RangeError && !/stack/.test(message));
  return new ProviderFailure(full ? "memory" : "failed", message);
}

/**
 * The failure of a provider that ended a denoise, or undefined where the request or the visitor did:
 * then no other provider would do better.
 */
export function failureIn(thrown: unknown): ProviderFailure | undefined {
  if (thrown instanceof ProviderFailure) return thrown;
  if (thrown instanceof EngineProblem && thrown.code === "numbers") {
    return new ProviderFailure("numbers", thrown.message);
  }
  return undefined;
}
