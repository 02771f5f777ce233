/** The server's part: words to embeddings, latents to a picture. */

import { parseSafetensors, type TensorFile } from "../engine/safetensors";
import type { WireTensor } from "../worker/protocol";
import { Trouble } from "./problem";
import { dumpSafetensors } from "./tensors";

export interface Words {
  prompt: string;
  negativePrompt: string;
}

export interface Embeddings {
  /** `[1, tokens, width]` each. */
  promptEmbeds: WireTensor;
  negativePromptEmbeds: WireTensor;
  /** Tokens at the end of either prompt for which there was no room. */
  cut: number;
}

export interface Server {
  encode(words: Words, signal: AbortSignal): Promise<Embeddings>;
  /** `latents` is `[1, channels, height, width]`; the answer is a PNG. */
  decode(latents: WireTensor, signal: AbortSignal): Promise<Blob>;
  /** Throws a Trouble when the server is down or not ready yet. */
  ready(signal: AbortSignal): Promise<void>;
}

/** What a brushlet server says when it says no: RFC 9457 problem JSON, with two members more. */
interface Refusal {
  title?: string;
  detail?: string;
  where?: string;
  todo?: string;
}

/** The refusal in an answer; undefined when something else than our server wrote it. */
async function refusalIn(response: Response): Promise<Refusal | undefined> {
  if (!response.headers.get("Content-Type")?.includes("json")) return undefined;
  const body = (await response.json().catch(() => undefined)) as unknown;
  return typeof body === "object" && body !== null ? body : undefined;
}

async function troubleIn(response: Response, url: string): Promise<Trouble> {
  const { status, statusText } = response;
  const refusal = await refusalIn(response);
  if (!refusal) {
    // A proxy in front of a server that is down, or a static host where there is none at all.
    const gone = [404, 405, 501, 502, 503, 504].includes(status);
    const message = `${status} ${statusText}`.trim();
    return new Trouble({ code: gone ? "server-down" : "server-failed", message, where: url });
  }
  const code = status === 503 ? "server-busy" : status > 499 ? "server-failed" : "server-refused";
  const { title = String(status), detail = title, where, todo } = refusal;
  const message = [detail, todo].filter(Boolean).join("; ");
  return new Trouble({ code, message, where: where || url });
}

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
      throw new Trouble({ code: "server-down", message: "", where: url });
    }
  }

  async function ask(path: string, init: RequestInit): Promise<Response> {
    const response = await call(path, init);
    if (response.ok) return response;
    throw await troubleIn(response, new URL(path, base).href);
  }

  return {
    async encode({ prompt, negativePrompt }, signal) {
      const response = await ask("v1/encode", {
        method: "POST",
        signal,
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ prompt, negative_prompt: negativePrompt }),
      });
      const { tensors, metadata } = readFile(await response.arrayBuffer(), response.url);
      const take = (name: string) => {
        const tensor = tensors.get(name);
        if (tensor) return tensor;
        const message = `The answer has no tensor “${name}”.`;
        throw new Trouble({ code: "server-reply", message, where: response.url });
      };
      const cut = (name: string) => Number(metadata.get(name) ?? 0);
      return {
        promptEmbeds: take("prompt_embeds"),
        negativePromptEmbeds: take("negative_prompt_embeds"),
        cut: cut("prompt_tokens_cut") + cut("negative_prompt_tokens_cut"),
      };
    },

    async decode(latents, signal) {
      const response = await ask("v1/decode?format=png", {
        method: "POST",
        signal,
        headers: { "Content-Type": "application/octet-stream" },
        body: dumpSafetensors({ latents }),
      });
      const picture = await response.blob();
      if (picture.type.startsWith("image/")) return picture;
      const message = `Expected a PNG, got ${picture.type || "no type"}.`;
      throw new Trouble({ code: "server-reply", message, where: response.url });
    },

    async ready(signal) {
      const response = await call("readyz", { signal });
      if (response.status > 499) throw await troubleIn(response, response.url);
    },
  };
}

function readFile(body: ArrayBuffer, where: string): TensorFile {
  try {
    return parseSafetensors(new Uint8Array(body), "The server's answer");
  } catch (thrown) {
    const message = thrown instanceof Error ? thrown.message : String(thrown);
    throw new Trouble({ code: "server-reply", message, where });
  }
}
