/** The denoising worker: turns messages into calls of the engine, and its results into replies. */

import { Engine } from "../engine/engine";
import { asProblem, EngineProblem } from "../engine/problems";
import type { Outcome, Reply, Request } from "./protocol";

/** What of DedicatedWorkerGlobalScope is used here; its library clashes with the page's. */
interface WorkerScope {
  postMessage(message: Reply, transfer?: Transferable[]): void;
  onmessage: ((event: MessageEvent<Request>) => void) | null;
}

const scope = globalThis as unknown as WorkerScope;
const running = new Map<number, AbortController>();
let engine: Engine | undefined;

scope.onmessage = ({ data: message }) => {
  if (message.type === "cancel") running.get(message.id)?.abort();
  else void answer(message);
};

async function answer(message: Exclude<Request, { type: "cancel" }>): Promise<void> {
  const { id } = message;
  const controller = new AbortController();
  running.set(id, controller);
  const hooks = {
    signal: controller.signal,
    onProgress: (progress: Extract<Reply, { type: "progress" }>["progress"]) =>
      scope.postMessage({ type: "progress", id, progress }),
  };
  if (message.type === "load") {
    const outcome = await outcomeOf(async () => {
      if (engine) throw new EngineProblem("request", "This worker has a bundle already.");
      engine = await Engine.open(message.request, hooks);
      return engine.report;
    });
    scope.postMessage({ type: "loaded", id, outcome });
  } else if (message.type === "denoise") {
    const outcome = await outcomeOf(() =>
      opened().denoise(message.request, {
        ...hooks,
        onStep: (step) =>
          scope.postMessage(
            { type: "step", id, step },
            step.preview ? [step.preview.rgba.buffer as ArrayBuffer] : [],
          ),
      }),
    );
    const transfer = outcome.ok ? [outcome.value.latents.data.buffer as ArrayBuffer] : [];
    scope.postMessage({ type: "denoised", id, outcome }, transfer);
  } else {
    const outcome = await outcomeOf(async () => {
      await opened().prefetchStyle(message.name, hooks);
      return null;
    });
    scope.postMessage({ type: "style-ready", id, outcome });
  }
  running.delete(id);
}

function opened(): Engine {
  if (engine) return engine;
  throw new EngineProblem("request", "No bundle is loaded yet: load one first.");
}

async function outcomeOf<T>(work: () => Promise<T>): Promise<Outcome<T>> {
  try {
    return { ok: true, value: await work() };
  } catch (thrown) {
    return { ok: false, problem: asProblem(thrown).toWire() };
  }
}
