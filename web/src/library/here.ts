/** Words and pictures in the worker, where nothing leaves the device; and no worker at all. */

import { EngineProblem } from "../engine/problems";
import type { WorkerClient } from "../worker/client";
import type { Outcome, Problem } from "../worker/protocol";
import { type Codec, copyOf } from "./codec";

/** @throws EngineProblem the outcome's problem */
export function resultOf<T>(outcome: Outcome<T>): T {
  if (outcome.ok) return outcome.value;
  const { code, message, where } = outcome.problem;
  throw new EngineProblem(code, message, where);
}

export function codecHere(worker: WorkerClient): Codec {
  return {
    async encode({ prompt, negativePrompt, clipSkip = 0, styles }, signal, onProgress) {
      const request = { prompt, negativePrompt, clipSkip, styles };
      const hooks = { signal, ...(onProgress && { onProgress }) };
      return resultOf(await worker.call("encode-text", request, hooks));
    },

    async decode(latents, signal, onProgress) {
      const own = copyOf(latents);
      const hooks = { signal, ...(onProgress && { onProgress }) };
      return resultOf(await worker.call("decode-latents", own, hooks, [own]));
    },

    async encodeImage(picture, signal, onProgress) {
      const hooks = { signal, ...(onProgress && { onProgress }) };
      return resultOf(await worker.call("encode-image", picture, hooks));
    },
  };
}

/**
 * The server's, but for words that a style of this device alone reads: the server has no such style, and
 * is not given it.
 */
export function codecBeside(server: Codec, worker: WorkerClient): Codec {
  const here = codecHere(worker);
  return {
    async encode(words, ...hooks) {
      const own = words.styles.length ? resultOf(await worker.call("local-styles", null)) : [];
      const names = new Set(own.map(({ name }) => name));
      const alone = words.styles.some(({ name }) => names.has(name));
      return (alone ? here : server).encode(words, ...hooks);
    },
    decode: (...request) => server.decode(...request),
    encodeImage: (...request) => server.encodeImage(...request),
  };
}

/** In place of a worker where the server draws: every call ends with a problem that says so. */
export function noWorker(): WorkerClient {
  const message = "The server draws for this device, with the styles of its bundle alone.";
  const problem: Problem = { code: "request", message };
  const refuse = async () => ({ ok: false as const, problem });
  return { load: refuse, denoise: refuse, prefetchStyle: refuse, call: refuse, terminate() {} };
}
