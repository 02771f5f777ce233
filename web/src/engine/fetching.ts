/** Requests to the bundle's server, and the problems that come of them. */

import type { Problem } from "../worker/protocol";
import { cancelled, EngineProblem, messageOf, stopIfAborted } from "./problems";

/** The connection could not be made or was lost: what is worth another try. */
export class Dropped extends EngineProblem {
  constructor(name: string, reason: string) {
    super(
      "network",
      `${name} could not be fetched (${reason}). Check that the server runs and that you are online, then try again.`,
      name,
    );
  }
}

/** Answers that a busy server gives for a while. */
const passing = [408, 425, 429, 500, 502, 503, 504];

export type Pieces = ReadableStreamDefaultReader<Uint8Array<ArrayBuffer>>;

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
  const response = await ask(url, name, { cache: "no-cache" }, signal);
  if (!response.ok) throw await refusal(response, name, missing);
  const body = piecesOf(response);
  const decoder = new TextDecoder();
  let text = "";
  for (;;) {
    const { done, value: piece } = await nextPiece(body, name, signal);
    if (done) return text + decoder.decode();
    text += decoder.decode(piece, { stream: true });
  }
}

/** Any answer, whatever its status. @throws Dropped; EngineProblem `cancelled` */
export async function ask(
  url: string,
  name: string,
  init: RequestInit,
  signal: AbortSignal | undefined,
): Promise<Response> {
  stopIfAborted(signal);
  try {
    return await fetch(url, { ...init, ...(signal && { signal }) });
  } catch (thrown) {
    throw signal?.aborted ? cancelled() : new Dropped(name, messageOf(thrown));
  }
}

/** The problem that an HTTP error is; its body is let go. */
export async function refusal(
  response: Response,
  name: string,
  code: Problem["code"] = "network",
): Promise<EngineProblem> {
  await response.body?.cancel().catch(() => {});
  const answered = `the server answered ${response.status}`;
  if (passing.includes(response.status)) return new Dropped(name, answered);
  return new EngineProblem(
    code,
    `The server answered ${response.status} for ${name}. Check the bundle's address, then try again.`,
    name,
  );
}

export function piecesOf(response: Response): Pieces {
  return (response.body ?? new Blob([]).stream()).getReader() as Pieces;
}

/**
 * @param patienceMs how long the server may be silent
 * @throws Dropped; EngineProblem `cancelled`
 */
export async function nextPiece(
  body: Pieces,
  name: string,
  signal: AbortSignal | undefined,
  patienceMs = 60_000,
) {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const silence = new Promise<never>((_, reject) => {
    const reason = `nothing came for ${patienceMs / 1000} s`;
    timer = setTimeout(() => reject(new Error(reason)), patienceMs);
  });
  try {
    return await Promise.race([body.read(), silence]);
  } catch (thrown) {
    throw signal?.aborted ? cancelled() : new Dropped(name, messageOf(thrown));
  } finally {
    clearTimeout(timer);
  }
}
