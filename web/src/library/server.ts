/** The server's part: words to embeddings, latents to a picture, and for some devices all of it. */

import { EngineProblem, messageOf, untilAborted } from "../engine/problems";
import { parseSafetensors, type TensorFile } from "../engine/safetensors";
import type { WirePicture, WireTensor } from "../worker/protocol";
import type { Codec, Words } from "./codec";
import { toPng } from "./pixels";
import { dumpSafetensors } from "./tensors";

/** A picture drawn wholly by the server; sizes in pixels. */
export interface RemoteSpec extends Omit<Words, "styles"> {
  styles: { name: string; strength: number; te?: number }[];
  seed: number;
  steps: number;
  guidance: number;
  sampler: string;
  guidanceRange?: [from: number, to: number];
  cacheInterval?: number;
  width: number;
  height: number;
}

export interface Server extends Codec {
  /** `latents` is `[1, channels, height, width]`; the answer is a PNG. */
  decode(latents: WireTensor, signal: AbortSignal): Promise<Blob>;
  /** Draws a whole picture, for devices that cannot; the answer is a PNG. */
  generate(spec: RemoteSpec, signal: AbortSignal): Promise<Blob>;
  /**
   * Waits for a server that opens its bundle; `onWait` is told its words.
   *
   * @throws EngineProblem `server-down`, `server-failed`; `server-busy` when it is not ready within
   *   two minutes; `no-server` when something else than a brushlet server answers
   */
  ready(signal: AbortSignal, onWait: (words: string) => void): Promise<void>;
}

const patienceMs = 120_000;
const longestPauseMs = 10_000;

/** What a brushlet server says when it says no: RFC 9457 problem JSON, with two members more. */
interface Refusal {
  title?: string;
  detail?: string;
  where?: string;
  todo?: string;
}

/** Static hosts and proxies answer with a page, our server never does. */
const isOurs = ({ headers }: Response) => headers.get("Content-Type")?.includes("json") === true;

/** The refusal in an answer; undefined when something else than our server wrote it. */
async function refusalIn(response: Response): Promise<Refusal | undefined> {
  if (!isOurs(response)) return undefined;
  const body = (await response.json().catch(() => undefined)) as unknown;
  return typeof body === "object" && body !== null ? body : undefined;
}

async function problemIn(response: Response, url: string): Promise<EngineProblem> {
  const { status, statusText } = response;
  const refusal = await refusalIn(response);
  if (!refusal) {
    // A proxy in front of a server that is down, or a static host where there is none at all.
    const gone = [404, 405, 501, 502, 503, 504].includes(status);
    const told = `${url} answers ${`${status} ${statusText}`.trim()}`;
    return gone
      ? new EngineProblem("server-down", `${told}. ${startIt}`, url)
      : new EngineProblem("server-failed", `${told}. Look at what the server printed.`, url);
  }
  const code = status === 503 ? "server-busy" : status > 499 ? "server-failed" : "server-refused";
  const { title = String(status), detail = title, where, todo } = refusal;
  const message = todo && !detail?.includes(todo) ? `${detail}; ${todo}` : detail;
  return new EngineProblem(code, message, where || url);
}

const startIt = "Start the brushlet server (`make serve`), or name another one.";

/** Talks to the server whose root is `base`, an absolute URL. */
export function createServer(
  base: string,
  fetcher: typeof fetch = (...all) => fetch(...all),
): Server {
  async function call(path: string, init: RequestInit): Promise<Response> {
    const url = new URL(path, base).href;
    try {
      return await fetcher(url, init);
    } catch (thrown) {
      if (init.signal?.aborted) throw thrown;
      throw new EngineProblem("server-down", `${url} does not answer. ${startIt}`, url);
    }
  }

  async function post(
    path: string,
    type: string,
    body: BodyInit,
    signal: AbortSignal,
  ): Promise<Response> {
    const headers = { "Content-Type": type };
    const response = await call(path, { method: "POST", signal, headers, body });
    if (response.ok) return response;
    throw await problemIn(response, new URL(path, base).href);
  }

  return {
    async encode({ prompt, negativePrompt, styles, clipSkip = 0 }, signal) {
      const body = { prompt, negative_prompt: negativePrompt, styles, clip_skip: clipSkip };
      const response = await post("v1/encode", json, JSON.stringify(body), signal);
      const { tensors } = await readAnswer(response);
      return {
        promptEmbeds: tensorIn(tensors, "prompt_embeds", response),
        negativePromptEmbeds: tensorIn(tensors, "negative_prompt_embeds", response),
      };
    },

    async decode(latents, signal) {
      const body = dumpSafetensors({ latents });
      return pictureIn(await post("v1/decode?format=png", binary, body, signal));
    },

    async encodeImage(picture: WirePicture, signal) {
      const response = await post(
        "v1/encode-image?posterior=true",
        "image/png",
        await toPng(picture),
        signal,
      );
      const { tensors } = await readAnswer(response);
      // The posterior, where the VAE has one, from which each picture draws with its own seed.
      return tensors.get("posterior") ?? tensorIn(tensors, "latents", response);
    },

    async generate(spec, signal) {
      const { negativePrompt, clipSkip, guidance, guidanceRange, cacheInterval, ...rest } = spec;
      const body = {
        ...rest,
        negative_prompt: negativePrompt,
        guidance_scale: guidance,
        ...(guidanceRange && { guidance_range: guidanceRange }),
        ...(cacheInterval && { cache_interval: cacheInterval }),
        ...(clipSkip && { clip_skip: clipSkip }),
      };
      return pictureIn(await post("v1/txt2img", json, JSON.stringify(body), signal));
    },

    async ready(signal, onWait) {
      const end = performance.now() + patienceMs;
      for (;;) {
        const response = await call("readyz", { signal });
        if (response.status < 500) {
          // A proxy may pass nothing but /v1; a static host may answer 200 with its front page.
          if (isOurs(response) || isOurs(await call("v1/styles", { signal }))) return;
          const message = `${base} is no brushlet server, but a static host. Name the server.`;
          throw new EngineProblem("no-server", message, base);
        }
        const problem = await problemIn(response, response.url);
        const comeBack = response.status === 503 && response.headers.get("Retry-After");
        if (!comeBack || performance.now() > end) throw problem;
        onWait(problem.message);
        const ms = Math.min(Number(comeBack) * 1000 || longestPauseMs, longestPauseMs);
        await untilAborted(new Promise((resolve) => setTimeout(resolve, ms)), signal);
      }
    },
  };
}

const json = "application/json";
const binary = "application/octet-stream";

async function readAnswer(response: Response): Promise<TensorFile> {
  const body = new Uint8Array(await response.arrayBuffer());
  try {
    return parseSafetensors(body, "The server's answer");
  } catch (thrown) {
    throw new EngineProblem("server-reply", messageOf(thrown), response.url);
  }
}

function tensorIn(tensors: TensorFile["tensors"], name: string, { url }: Response): WireTensor {
  const tensor = tensors.get(name);
  if (tensor) return tensor;
  throw new EngineProblem("server-reply", `The answer has no tensor “${name}”.`, url);
}

async function pictureIn(response: Response): Promise<Blob> {
  const picture = await response.blob();
  if (picture.type.startsWith("image/")) return picture;
  const message = `Expected a PNG, got ${picture.type || "no type"}.`;
  throw new EngineProblem("server-reply", message, response.url);
}
