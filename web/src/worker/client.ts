/** The page's side of the denoising worker: requests in, outcomes out. Nothing here throws. */

import { askToPersist } from "../engine/storage";
import type {
  CallName,
  CallRequest,
  CallResult,
  DenoiseRequest,
  DenoiseResult,
  LoadProgress,
  LoadRequest,
  LoadResult,
  Notice,
  Outcome,
  Problem,
  Reply,
  Request,
  StepReport,
  WireTensor,
} from "./protocol";

export interface LoadHooks {
  onProgress?: (progress: LoadProgress) => void;
  signal?: AbortSignal;
}

export interface DenoiseHooks {
  onStep?: (step: StepReport) => void;
  /** The provider failed on the way, and another one begins the picture again. */
  onNotice?: (notice: Notice) => void;
  /** Downloads on the way: a style or sampler that was not there yet. */
  onProgress?: (progress: LoadProgress) => void;
  /** Aborting ends the denoise within one UNet step, with a problem `cancelled`. */
  signal?: AbortSignal;
}

/** What of a Worker the client needs; tests put their own in. */
export interface WorkerLike {
  postMessage(message: Request, transfer?: Transferable[]): void;
  terminate(): void;
  addEventListener(type: "message", listener: (event: { data: Reply }) => void): void;
  addEventListener(
    type: "error" | "messageerror",
    listener: (event: { message?: string }) => void,
  ): void;
}

export interface WorkerClient {
  /** Loads the bundle and chooses an execution provider; once per worker. */
  load(request: LoadRequest, hooks?: LoadHooks): Promise<Outcome<LoadResult>>;
  /**
   * Denoises one picture's latents. The embeddings' buffers are transferred: give copies of what
   * is wanted again. Requests are taken one after another.
   */
  denoise(request: DenoiseRequest, hooks?: DenoiseHooks): Promise<Outcome<DenoiseResult>>;
  /** Fetches a style ahead of its first use. */
  prefetchStyle(name: string, hooks?: LoadHooks): Promise<Outcome<null>>;
  /** Any call; buffers of the tensors in `transfer` are given away. */
  call<Name extends CallName>(
    type: Name,
    request: CallRequest<Name>,
    hooks?: DenoiseHooks,
    transfer?: readonly WireTensor[],
  ): Promise<Outcome<CallResult<Name>>>;
  /** Ends the worker and frees its memory; what is under way ends as `cancelled`. */
  terminate(): void;
}

interface Pending {
  onProgress?: ((progress: LoadProgress) => void) | undefined;
  onStep?: ((step: StepReport) => void) | undefined;
  onNotice?: ((notice: Notice) => void) | undefined;
  settle(outcome: Outcome<unknown>): void;
}

/** Starts a worker. It does nothing until `load`. */
export function createWorkerClient(
  worker: WorkerLike = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" }),
): WorkerClient {
  const pending = new Map<number, Pending>();
  let ended: Problem | undefined;
  let lastId = 0;

  function end(problem: Problem): void {
    ended ??= problem;
    worker.terminate();
    for (const { settle } of pending.values()) settle({ ok: false, problem: ended });
    pending.clear();
  }

  worker.addEventListener("message", ({ data: reply }) => {
    const asked = pending.get(reply.id);
    if (!asked) return;
    if (reply.type === "progress") asked.onProgress?.(reply.progress);
    else if (reply.type === "step") asked.onStep?.(reply.step);
    else if (reply.type === "notice") asked.onNotice?.(reply.notice);
    else {
      pending.delete(reply.id);
      asked.settle(reply.outcome);
    }
  });
  const crashed = ({ message }: { message?: string }) =>
    end({
      code: "internal",
      message: `The denoising worker stopped (${message || "no reason given"}). Reload the page.`,
    });
  worker.addEventListener("error", crashed);
  worker.addEventListener("messageerror", crashed);

  function ask<Name extends CallName>(
    type: Name,
    request: CallRequest<Name>,
    { onProgress, onStep, onNotice, signal }: DenoiseHooks = {},
    transfer: readonly WireTensor[] = [],
  ): Promise<Outcome<CallResult<Name>>> {
    if (ended) return Promise.resolve({ ok: false, problem: ended });
    if (signal?.aborted) return Promise.resolve({ ok: false, problem: cancelled });
    const id = ++lastId;
    return new Promise((resolve) => {
      const cancel = () => worker.postMessage({ type: "cancel", id });
      signal?.addEventListener("abort", cancel, { once: true });
      pending.set(id, {
        onProgress,
        onStep,
        onNotice,
        settle(outcome) {
          signal?.removeEventListener("abort", cancel);
          resolve(outcome as Outcome<CallResult<Name>>);
        },
      });
      // A name and its own request: more than the compiler can see in a union.
      const message = { type, id, request } as unknown as Request;
      const buffers = new Set(transfer.map(({ data }) => data.buffer as ArrayBuffer));
      worker.postMessage(message, [...buffers]);
    });
  }

  return {
    load(request, hooks = {}) {
      void askToPersist(); // a worker cannot; whether it was granted, the load's result tells
      return ask("load", request, hooks);
    },
    denoise: (request, hooks = {}) =>
      ask("denoise", request, hooks, [request.promptEmbeds, request.negativePromptEmbeds]),
    prefetchStyle: (name, hooks = {}) => ask("prefetch-style", name, hooks),
    call: ask,
    terminate: () => end(cancelled),
  };
}

const cancelled: Problem = { code: "cancelled", message: "Cancelled." };
