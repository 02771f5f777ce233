/**
 * Transfers a bundle's file into a store: from where it stood, bytes counted as they come, size and
 * SHA-256 held to the manifest. RFC 9110, sections 13.1.5 (If-Range) and 14 (ranges).
 */

import type { FileRef } from "../bundle/manifest.gen";
import { ask, Dropped, nextPiece, type Pieces, piecesOf, refusal } from "./fetching";
import { type Hash, sha256 } from "./hash";
import { EngineProblem, sleep } from "./problems";
import type { PartialFile } from "./store";

export interface TransferHooks {
  /** Called with the bytes of this file that are here; back to 0 when it has to begin again. */
  onBytes?: ((loaded: number) => void) | undefined;
  /** The connection is lost; the next try comes after a pause. */
  onLost?: (() => void) | undefined;
  signal?: AbortSignal | undefined;
  /** Milliseconds before each further try; a try that gets further begins them anew. */
  pauses?: readonly number[] | undefined;
  /** How the browser's own cache takes part. */
  cache?: RequestCache | undefined;
}

const PAUSES = [500, 1000, 2000, 4000, 8000];

/**
 * Completes a file. When it comes out damaged it is asked once more from its beginning, past all
 * caches. A problem leaves what came in `partial`.
 *
 * @param base URL of manifest.json
 * @throws EngineProblem `network`, `damaged` (naming the file) or `cancelled`; as `partial` throws
 */
export async function transfer(
  base: string,
  file: FileRef,
  partial: PartialFile,
  hooks: TransferHooks = {},
): Promise<void> {
  const url = new URL(file.url, base).href;
  try {
    await new Transfer(url, file, partial, hooks).run(hooks.cache ?? "default");
  } catch (thrown) {
    if (!(thrown instanceof EngineProblem && thrown.code === "damaged")) throw thrown;
    await partial.restart();
    await new Transfer(url, file, partial, hooks).run("reload").catch(async (again) => {
      if (again instanceof EngineProblem && again.code === "damaged") await partial.restart();
      throw again;
    });
  }
}

class Transfer {
  private hash!: Hash;

  constructor(
    private readonly url: string,
    private readonly file: FileRef,
    private readonly partial: PartialFile,
    private readonly hooks: TransferHooks,
  ) {}

  async run(cache: RequestCache): Promise<void> {
    const { file, partial, hooks } = this;
    this.hash = await sha256();
    await this.hashKept();
    hooks.onBytes?.(partial.bytes);
    const pauses = hooks.pauses ?? PAUSES;
    let furthest = partial.bytes;
    let lost = 0;
    while (partial.bytes < file.bytes) {
      try {
        await this.goOn(cache);
      } catch (thrown) {
        if (!(thrown instanceof Dropped)) throw thrown;
        if (partial.bytes > furthest) lost = 0;
        furthest = Math.max(furthest, partial.bytes);
        const pause = pauses[lost++];
        if (pause === undefined) throw thrown;
        hooks.onLost?.();
        await sleep(pause, hooks.signal);
      }
    }
    if (this.hash.hex() !== file.sha256) throw this.damaged("its SHA-256 is not the manifest's");
  }

  /** The hash over an earlier transfer's part; one that cannot be read, or is too long, is forgotten. */
  private async hashKept(): Promise<void> {
    const { file, partial } = this;
    try {
      if (partial.bytes > file.bytes) throw new RangeError("longer than the file");
      for await (const piece of partial.content()) this.hash.update(piece);
    } catch {
      await partial.restart();
      this.hash = await sha256();
    }
  }

  /** Asks for what is missing and takes it. */
  private async goOn(cache: RequestCache): Promise<void> {
    const { url, file, partial, hooks } = this;
    const asked = partial.bytes;
    const headers = asked > 0 ? this.rangeHeaders() : {};
    const response = await ask(url, file.url, { cache, headers }, hooks.signal);
    const continues = response.status === 206 && asked > 0 && this.fits(response);
    if (asked > 0 && (response.status === 416 || (response.status === 206 && !continues))) {
      await response.body?.cancel().catch(() => {});
      await this.restart(); // the next turn asks for the whole file
      return;
    }
    if (response.status !== 200 && !continues) throw await refusal(response, file.url);
    const body = piecesOf(response);
    try {
      if (!continues) await this.restart(validatorOf(response));
      await this.take(body);
    } finally {
      // Ends the transfer when it was left early; after its end this does nothing.
      body.cancel().catch(() => {});
    }
  }

  private async take(body: Pieces): Promise<void> {
    const { file, partial, hooks } = this;
    for (;;) {
      const { done, value: piece } = await nextPiece(body, file.url, hooks.signal);
      if (done) break;
      if (partial.bytes + piece.length > file.bytes) {
        throw this.damaged(`it is longer than ${file.bytes} bytes`);
      }
      await partial.write(piece);
      this.hash.update(piece);
      hooks.onBytes?.(partial.bytes);
    }
    if (partial.bytes < file.bytes) {
      throw this.damaged(`it ends after ${partial.bytes} of ${file.bytes} bytes`);
    }
  }

  private async restart(validator?: string): Promise<void> {
    await this.partial.restart(validator);
    this.hash = await sha256();
    this.hooks.onBytes?.(0);
  }

  private rangeHeaders(): Record<string, string> {
    const { bytes, validator } = this.partial;
    const range = { Range: `bytes=${bytes}-` };
    // Across origins If-Range would need a preflight, which static hosts refuse. The SHA-256 says in the end
    // whether both parts are of one file.
    return validator && this.sameOrigin ? { ...range, "If-Range": validator } : range;
  }

  /** Whether a 206 holds what was asked for: from where we are to the end of this very file. */
  private fits(response: Response): boolean {
    const { bytes, validator } = this.partial;
    const now = validatorOf(response);
    if (validator && now && now !== validator) return false;
    const range = response.headers.get("Content-Range");
    if (range === null) return !this.sameOrigin; // other origins need not show it
    const [, from, total] = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(range) ?? [];
    return Number(from) === bytes && (total === "*" || Number(total) === this.file.bytes);
  }

  private get sameOrigin(): boolean {
    return new URL(this.url).origin === globalThis.location?.origin;
  }

  private damaged(what: string): EngineProblem {
    const { url } = this.file;
    return new EngineProblem(
      "damaged",
      `The file ${url} is damaged: ${what}. Reload to fetch it again; ` +
        "if that does not help, the bundle on the server has to be exported again.",
      url,
    );
  }
}

/** What If-Range may carry: a strong ETag, else the time of the last change. */
function validatorOf({ headers }: Response): string | undefined {
  const etag = headers.get("ETag");
  if (etag && !etag.startsWith("W/")) return etag;
  return headers.get("Last-Modified") ?? undefined;
}
