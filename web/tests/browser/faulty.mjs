/** A server with ranges and ETags, as a good host is, that fails in the ways a test tells it to. */

import { readFile, stat } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { types } from "./serve.mjs";

const ort = fileURLToPath(new URL("../../node_modules/onnxruntime-web/dist", import.meta.url));

/**
 * @param {Map<string, string | Uint8Array>} page what `buildPage` gave
 * @param {Record<string, string>} bundles place -> folder
 */
export async function faultyServer(page, bundles) {
  const folders = { ...bundles, ort };
  const faults = new Map();
  const self = {
    /** What was asked of the bundles, in order: name, range, ifRange, status, and bytes sent. */
    asked: [],
    /** Part of every ETag. */
    version: 1,
    /** Cuts every connection to a bundle. */
    silent: false,
    etag: (name) => `"${name}-${self.version}"`,
    /**
     * The next answer for a file stops at byte `until`; then it is cut, or waits for `gate`.
     *
     * @param {string} name
     * @param {{ until: number, cut?: boolean, gate?: Promise<void> }} fault
     */
    next: (name, fault) => faults.set(name, fault),
    reset() {
      faults.clear();
      Object.assign(self, { asked: [], silent: false });
    },
    close() {
      server.close();
      server.closeAllConnections();
    },
  };

  async function sendFile(place, name, request, response) {
    const whole = await readFile(join(folders[place], normalize(`/${name}`)));
    const headers = { "Content-Type": types[extname(name)] ?? "application/octet-stream" };
    if (place === "ort") return response.writeHead(200, headers).end(whole);
    const { range, "if-range": ifRange } = request.headers;
    const etag = self.etag(name);
    const [, from] = (ifRange ?? etag) === etag ? (/^bytes=(\d+)-$/.exec(range ?? "") ?? []) : [];
    const body = whole.subarray(Number(from ?? 0));
    const status = from === undefined ? 200 : 206;
    if (from) headers["Content-Range"] = `bytes ${from}-${whole.length - 1}/${whole.length}`;
    const told = { name, range, ifRange, status, sent: 0 };
    self.asked.push(told);
    response.writeHead(status, { ...headers, ETag: etag, "Content-Length": body.length });
    const fault = faults.get(name);
    faults.delete(name);
    const send = (part) => {
      told.sent += part.length;
      return new Promise((sent) => response.write(part, sent));
    };
    if (fault) {
      await send(body.subarray(0, fault.until));
      if (fault.cut) return setTimeout(() => response.destroy(), 100);
      await fault.gate;
    }
    await send(body.subarray(fault?.until ?? 0));
    response.end();
  }

  async function answer(request, response) {
    const { pathname } = new URL(request.url, "http://host");
    const built = page.get(pathname);
    const [, place, ...rest] = decodeURIComponent(pathname).split("/");
    if (built !== undefined)
      response.writeHead(200, { "Content-Type": types[extname(pathname)] }).end(built);
    else if (!folders[place]) response.writeHead(404).end();
    else if (self.silent && place !== "ort") request.socket.destroy();
    else await sendFile(place, rest.join("/"), request, response);
  }

  const server = createServer((request, response) => {
    answer(request, response).catch((error) => response.destroy(error));
  });
  for (const folder of Object.values(folders)) await stat(folder);
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  self.url = `http://127.0.0.1:${server.address().port}/`;
  return self;
}
