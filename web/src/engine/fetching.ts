/** Fetches a bundle's files: bytes counted as they come, size and SHA-256 held to the manifest. */

import type { FileRef } from "../bundle/manifest.gen";
import type { Problem } from "../worker/protocol";
import { sha256 } from "./hash";
import { cancelled, EngineProblem, messageOf, stopIfAborted } from "./problems";

export interface FetchHooks {
  /** Called with the bytes of this file that have come so far; back to 0 when it is asked again. */
  onBytes?: ((loaded: number) => void) | undefined;
  signal?: AbortSignal | undefined;
}

/**
 * A whole file that is what the manifest promises. When the first copy is damaged it is asked once
 * more past the caches, since a stored copy would stay damaged.
 *
 * @param base URL of manifest.json
 * @throws EngineProblem `network`, `damaged` (naming the file) or `cancelled`
 */
export async function fetchFile(
  base: string,
  file: FileRef,
  hooks: FetchHooks = {},
): Promise<Uint8Array<ArrayBuffer>> {
  try {
    return await fetchOnce(base, file, hooks, "default");
  } catch (thrown) {
    if (!(thrown instanceof EngineProblem && thrown.code === "damaged")) throw thrown;
    return await fetchOnce(base, file, hooks, "reload");
  }
}

async function fetchOnce(
  base: string,
  file: FileRef,
  { onBytes, signal }: FetchHooks,
  cache: RequestCache,
): Promise<Uint8Array<ArrayBuffer>> {
  const damaged = (what: string) =>
    new EngineProblem(
      "damaged",
      `The file ${file.url} is damaged: ${what}. Reload to fetch it again; ` +
        "if that does not help, the bundle on the server has to be exported again.",
      file.url,
    );
  const body = await open(new URL(file.url, base).href, file.url, cache, signal);
  const whole = new Uint8Array(file.bytes);
  const hash = await sha256();
  let loaded = 0;
  onBytes?.(0);
  try {
    for (;;) {
      const { done, value: piece } = await read(body, file.url, signal);
      if (done) break;
      if (loaded + piece.length > file.bytes)
        throw damaged(`it is longer than ${file.bytes} bytes`);
      whole.set(piece, loaded);
      hash.update(piece);
      loaded += piece.length;
      onBytes?.(loaded);
    }
  } finally {
    // Ends the transfer when it was left early; after its end this does nothing.
    body.cancel().catch(() => {});
  }
  if (loaded < file.bytes) throw damaged(`it ends after ${loaded} of ${file.bytes} bytes`);
  if (hash.hex() !== file.sha256) throw damaged("its SHA-256 is not the manifest's");
  return whole;
}

/**
 * A text that may change, such as the manifest: asked past the caches' idea of fresh.
 *
 * @param missing the problem's code when the server answers that it has none
 * @throws EngineProblem `missing`, `network` or `cancelled`
 */
export async function fetchText(
  url: string,
  name: string,
  missing: Problem["code"],
  signal?: AbortSignal,
): Promise<string> {
  const body = await open(url, name, "no-cache", signal, missing);
  const decoder = new TextDecoder();
  let text = "";
  for (;;) {
    const { done, value: piece } = await read(body, name, signal);
    if (done) return text + decoder.decode();
    text += decoder.decode(piece, { stream: true });
  }
}

/** A response's bytes. @throws EngineProblem `refused` on an HTTP error, `network` or `cancelled` */
async function open(
  url: string,
  name: string,
  cache: RequestCache,
  signal: AbortSignal | undefined,
  refused: Problem["code"] = "network",
): Promise<ReadableStreamDefaultReader<Uint8Array>> {
  stopIfAborted(signal);
  let response: Response;
  try {
    response = await fetch(url, { cache, ...(signal && { signal }) });
  } catch (thrown) {
    throw failure(name, thrown, signal);
  }
  if (!response.ok || !response.body) {
    await response.body?.cancel().catch(() => {});
    throw new EngineProblem(
      refused,
      `The server answered ${response.status} for ${name}. Check the bundle's address, then try again.`,
      name,
    );
  }
  return response.body.getReader();
}

async function read(
  body: ReadableStreamDefaultReader<Uint8Array>,
  name: string,
  signal: AbortSignal | undefined,
) {
  try {
    return await body.read();
  } catch (thrown) {
    throw failure(name, thrown, signal);
  }
}

function failure(name: string, thrown: unknown, signal: AbortSignal | undefined): EngineProblem {
  if (signal?.aborted) return cancelled();
  return new EngineProblem(
    "network",
    `${name} could not be fetched (${messageOf(thrown)}). Check that the server runs and that you are online, then try again.`,
    name,
  );
}
