/** A small server for browser tests: the harness built in memory, the bundle, onnxruntime-web. */

import { createReadStream } from "node:fs";
import { stat, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { basename, extname, join, normalize, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "vite";

const web = fileURLToPath(new URL("../..", import.meta.url));
export const types = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".mjs": "text/javascript",
  ".json": "application/json",
  ".wasm": "application/wasm",
};

/** A page of this folder and what it loads: path -> text or bytes. */
export async function buildPage(name) {
  const { output } = await build({
    root: web,
    configFile: join(web, "build/harness.config.ts"),
    logLevel: "warn",
    build: { write: false, rolldownOptions: { input: join(web, "tests/browser", name) } },
  });
  return new Map(output.map((part) => [`/${part.fileName}`, part.code ?? part.source]));
}

/**
 * Serves until closed.
 *
 * @param {{ bundle: string, inputs: string, out: string, isolated: boolean }} options
 *   bundle: the bundle's folder; inputs: the folder that `/inputs/NAME` is relative to; out: where
 *   POSTs to `/outputs/NAME` are written; isolated: whether pages get COOP and COEP
 * @returns {Promise<{ url: string, sent: string[], close(): void }>} url of the harness page; sent:
 *   every request that was no GET, as `POST /path`
 */
export async function serve({ bundle, inputs, out, isolated }) {
  const harness = await buildPage("harness.html");
  const folders = {
    bundle,
    ort: join(web, "node_modules/onnxruntime-web/dist"),
  };
  const headers = isolated
    ? {
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Embedder-Policy": "require-corp",
      }
    : {};

  async function answer(request, response) {
    const { pathname } = new URL(request.url, "http://host");
    const built = harness.get(pathname);
    const [, place, ...rest] = decodeURIComponent(pathname).split("/");
    const send = (status, body, type = "text/plain") =>
      response.writeHead(status, { ...headers, "Content-Type": type }).end(body);
    const sendFile = async (path) => {
      const { size } = await stat(path);
      const type = types[extname(path)] ?? "application/octet-stream";
      response.writeHead(200, { ...headers, "Content-Type": type, "Content-Length": size });
      createReadStream(path).pipe(response);
    };
    if (built !== undefined) send(200, built, types[extname(pathname)]);
    else if (place === "inputs") await sendFile(resolve(inputs, rest.join("/")));
    else if (place === "outputs" && request.method === "POST") {
      await writeFile(join(out, basename(rest.join("/"))), request);
      send(204);
    } else if (folders[place])
      await sendFile(join(folders[place], normalize(`/${rest.join("/")}`)));
    else send(404, "nothing here");
  }

  const sent = [];
  const server = createServer((request, response) => {
    if (request.method !== "GET") sent.push(`${request.method} ${request.url}`);
    answer(request, response).catch((error) => {
      if (!response.headersSent) response.writeHead(error.code === "ENOENT" ? 404 : 500, headers);
      response.end(error.message);
    });
  });
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  return {
    sent,
    url: `http://127.0.0.1:${server.address().port}/tests/browser/harness.html`,
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}
