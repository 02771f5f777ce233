/** The denoising worker: turns messages into calls of the engine, and its results into replies. */

import { Engine } from "../engine/engine";
import { asProblem, EngineProblem } from "../engine/problems";
import type { Device } from "../engine/providers";
import { warmUp } from "../engine/warmup";
import type { CallName, CallRequest, CallResult, Outcome, Reply, Request } from "./protocol";

/** What of DedicatedWorkerGlobalScope is used here; its library clashes with the page's. */
interface WorkerScope {
  postMessage(message: Reply, transfer?: Transferable[]): void;
  onmessage: ((event: MessageEvent<Request>) => void) | null;
}

/** How a call speaks to who asked, before it ends. */
interface Hooks {
  signal: AbortSignal;
  onProgress(progress: Extract<Reply, { type: "progress" }>["progress"]): void;
  onStep(step: Extract<Reply, { type: "step" }>["step"]): void;
  onNotice(notice: Extract<Reply, { type: "notice" }>["notice"]): void;
}

type Handlers = {
  [Name in CallName]: (request: CallRequest<Name>, hooks: Hooks) => Promise<CallResult<Name>>;
};

const scope = globalThis as unknown as WorkerScope;
const running = new Map<number, AbortController>();
let engine: Engine | undefined;
let warming: Promise<Device> | undefined;

const handlers: Handlers = {
  async "warm-up"(request) {
    warming = warmUp(request);
    await warming;
    return null;
  },
  async load(request, hooks) {
    if (engine) throw new EngineProblem("request", "This worker has a bundle already.");
    engine = await Engine.open(request, hooks, warming);
    return { report: engine.report, storage: await engine.storage() };
  },
  denoise: (request, hooks) => opened().denoise(request, hooks),
  async "prefetch-style"(name, hooks) {
    await opened().prefetchStyle(name, hooks);
    return null;
  },
  async "keep-parts"(_, hooks) {
    await opened().keepParts(hooks);
    return null;
  },
  "encode-text": (request, hooks) => opened().encodeText(request, hooks),
  "decode-latents": (latents, hooks) => opened().decodeLatents(latents, hooks),
  "encode-image": (picture, hooks) => opened().encodeImage(picture, hooks),
  "add-style": (file, hooks) => opened().addStyle(file, hooks),
  async "remove-style"(name) {
    await opened().removeStyle(name);
    return null;
  },
  "local-styles": async () => opened().localStyles,
  contributions: (styles, hooks) => opened().contributions(styles, hooks),
  "used-files": async () => performance.getEntriesByType("resource").map(({ name }) => name),
};

scope.onmessage = ({ data: message }) => {
  if (message.type === "cancel") running.get(message.id)?.abort();
  else void answer(message);
};

async function answer({ type, id, request }: Exclude<Request, { type: "cancel" }>): Promise<void> {
  const controller = new AbortController();
  running.set(id, controller);
  const hooks: Hooks = {
    signal: controller.signal,
    onProgress: (progress) => scope.postMessage({ type: "progress", id, progress }),
    onStep: (step) => scope.postMessage({ type: "step", id, step }, buffersIn(step.preview)),
    onNotice: (notice) => scope.postMessage({ type: "notice", id, notice }),
  };
  // A name and its own request: more than the compiler can see in a union.
  const handle = handlers[type] as (
    request: unknown,
    hooks: Hooks,
  ) => Promise<CallResult<CallName>>;
  let outcome: Outcome<CallResult<CallName>>;
  try {
    outcome = { ok: true, value: await handle(request, hooks) };
  } catch (thrown) {
    outcome = { ok: false, problem: asProblem(thrown).toWire() };
  }
  running.delete(id);
  scope.postMessage({ type: "done", id, outcome }, outcome.ok ? buffersIn(outcome.value) : []);
}

function opened(): Engine {
  if (engine) return engine;
  throw new EngineProblem("request", "No bundle is loaded yet: load one first.");
}

/** The buffers of all typed arrays in a message, to be given away rather than copied. */
function buffersIn(value: unknown): ArrayBuffer[] {
  if (ArrayBuffer.isView(value)) return [value.buffer as ArrayBuffer];
  if (typeof value !== "object" || value === null) return [];
  return [...new Set(Object.values(value).flatMap(buffersIn))];
}
