/** The server's part: words to embeddings, latents to a picture. */

import { parseSafetensors } from "../engine/safetensors";
import type { WireTensor } from "../worker/protocol";
import { Trouble } from "./problem";
import { dumpSafetensors } from "./tensors";

export interface Words {
  prompt: string;
  negativePrompt: string;
}

/** `[1, tokens, width]` each. */
export interface Embeddings {
  promptEmbeds: WireTensor;
  negativePromptEmbeds: WireTensor;
}

export interface Server {
  encode(words: Words, signal: AbortSignal): Promise<Embeddings>;
  /** `latents` is `[1, channels, height, width]`; the answer is a PNG. */
  decode(latents: WireTensor, signal: AbortSignal): Promise<Blob>;
  /** Throws a Trouble when the server is down or not ready yet. */
  ready(signal: AbortSignal): Promise<void>;
}

/** The text of an RFC 9457 problem, or of whatever else came with the status. */
async function reasonIn(response: Response): Promise<string> {
  const text = await response.text();
  try {
    const { title, detail } = JSON.parse(text) as { title?: unknown; detail?: unknown };
    const parts = [title, detail].filter((part) => typeof part === "string");
    if (parts.length) return parts.join(": ");
  } catch {
    // not JSON: a proxy's page, say; the status must do
  }
  return `${response.status} ${response.statusText}`.trim();
}

/** Talks to the server whose root is `base`, an absolute URL. */
export function createServer(
  base: string,
  fetcher: typeof fetch = (...all) => fetch(...all),
): Server {
  async function call(path: string, init: RequestInit): Promise<Response> {
    const url = new URL(path, base).href;
    let response: Response;
    try {
      response = await fetcher(url, init);
    } catch (thrown) {
      if (init.signal?.aborted) throw thrown;
      throw new Trouble({ code: "server-down", message: "", where: url });
    }
    // A proxy in front of a server that is down answers in its place.
    if ([502, 503, 504].includes(response.status)) {
      throw new Trouble({ code: "server-down", message: await reasonIn(response), where: url });
    }
    return response;
  }

  async function ask(path: string, init: RequestInit): Promise<Response> {
    const response = await call(path, init);
    if (!response.ok) {
      const where = new URL(path, base).href;
      throw new Trouble({ code: "server-refused", message: await reasonIn(response), where });
    }
    return response;
  }

  return {
    async encode({ prompt, negativePrompt }, signal) {
      const response = await ask("v1/encode", {
        method: "POST",
        signal,
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ prompt, negative_prompt: negativePrompt }),
      });
      const tensors = readTensors(await response.arrayBuffer(), response.url);
      const take = (name: string) => {
        const tensor = tensors.get(name);
        if (tensor) return tensor;
        const message = `The answer has no tensor “${name}”.`;
        throw new Trouble({ code: "server-reply", message, where: response.url });
      };
      return {
        promptEmbeds: take("prompt_embeds"),
        negativePromptEmbeds: take("negative_prompt_embeds"),
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
      await call("readyz", { signal });
    },
  };
}

function readTensors(body: ArrayBuffer, where: string): Map<string, WireTensor> {
  try {
    return parseSafetensors(new Uint8Array(body), "The server's answer").tensors;
  } catch (thrown) {
    const message = thrown instanceof Error ? thrown.message : String(thrown);
    throw new Trouble({ code: "server-reply", message, where });
  }
}
