/**
 * Holds WebGPU against PyTorch and WASM without a browser: the engine in Node, on Dawn (npm `webgpu`),
 * which takes a real GPU or Mesa's software one (lavapipe, 25 or later, which has shader-f16):
 *
 *     npm install --no-save webgpu@0.6.2
 *     node tests/browser/dawn.mjs --bundle DIR [--steps 8] [--providers webgpu,jsep] [--compute fp16,fp32]
 *
 * Each provider and precision is opened with the bundle's golden vector and draws one picture. Prints a
 * JSON line for each, with its largest distances relative to PyTorch and to WASM. --fp16-tolerance
 * lets 16 bits draw although they miss the promise, to see what that does to a picture. The exit code
 * is 3 when Dawn or an adapter is missing, and 1 when something that was opened failed.
 */

import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join, normalize, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { build } from "vite";

const web = fileURLToPath(new URL("../..", import.meta.url));
const runtime = join(web, "node_modules/onnxruntime-web/dist/");

const { values: options } = parseArgs({
  options: {
    bundle: { type: "string" },
    steps: { type: "string", default: "8" },
    providers: { type: "string", default: "webgpu,jsep" },
    compute: { type: "string", default: "fp16,fp32" },
    "fp16-tolerance": { type: "string" },
  },
});
if (!options.bundle) {
  console.error("usage: dawn.mjs --bundle DIR [--steps N] [--providers LIST] [--compute LIST]");
  process.exit(2);
}

/** Offers Dawn's WebGPU as a browser would. */
async function offerWebGpu() {
  const missing = (what) => {
    console.error(what);
    process.exit(3);
  };
  const { create, globals } = await import("webgpu").catch((error) =>
    missing(`Dawn is not there (${error.message}): npm install --no-save webgpu@0.6.2`),
  );
  Object.assign(globalThis, globals);
  const gpu = create([]);
  const adapter = await gpu.requestAdapter();
  if (!adapter) {
    missing("Dawn finds no adapter: install a Vulkan driver (Debian: mesa-vulkan-drivers >= 25)");
  }
  const navigator = { gpu, userAgent: `node ${process.version}`, hardwareConcurrency: 1 };
  Object.defineProperty(globalThis, "navigator", { value: navigator, configurable: true });
  // Dawn for Node reads no shared memory, which onnxruntime's heap is.
  const { writeBuffer } = GPUQueue.prototype;
  GPUQueue.prototype.writeBuffer = function (buffer, offset, data, start = 0, size = undefined) {
    const unit = ArrayBuffer.isView(data) ? (data.BYTES_PER_ELEMENT ?? 1) : 1;
    const bytes = ArrayBuffer.isView(data)
      ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
      : new Uint8Array(data);
    const end = size === undefined ? bytes.length : (start + size) * unit;
    return writeBuffer.call(this, buffer, offset, bytes.slice(start * unit, end));
  };
  const { vendor, architecture, description } = adapter.info;
  return { vendor, architecture, description, shaderF16: adapter.features.has("shader-f16") };
}

/** The engine for Node: onnxruntime-web's builds stay files of their own, told apart by `?single`. */
async function buildEngine(folder) {
  const builds = { webgpu: "ort.webgpu.min.mjs", all: "ort.all.min.mjs", wasm: "ort.wasm.min.mjs" };
  const { output } = await build({
    root: web,
    configFile: false,
    logLevel: "warn",
    ssr: { noExternal: true },
    build: {
      write: false,
      ssr: join(web, "src/engine/engine.ts"),
      rolldownOptions: { output: { codeSplitting: false } },
    },
    plugins: [
      {
        name: "onnxruntime-web-in-node",
        enforce: "pre",
        resolveId(source) {
          const [, name, query = ""] = /^onnxruntime-web\/(\w+)(\?\w+)?$/.exec(source) ?? [];
          const file = builds[name];
          return file && { id: pathToFileURL(runtime + file).href + query, external: true };
        },
      },
    ],
  });
  const path = join(folder, "engine.mjs");
  await writeFile(path, output[0].code);
  return import(pathToFileURL(path).href);
}

/** The bundle over HTTP, as the engine fetches it, but for what fp16 is allowed. */
async function serve(folder, fp16Tolerance) {
  const read = async (name) => {
    const bytes = await readFile(join(folder, name));
    if (name !== "/manifest.json" || fp16Tolerance === undefined) return bytes;
    const manifest = JSON.parse(bytes);
    for (const { golden } of manifest.unet) if (golden) golden.tolerance_fp16 = fp16Tolerance;
    return JSON.stringify(manifest);
  };
  const server = createServer((request, response) => {
    read(normalize(new URL(request.url, "http://host").pathname)).then(
      (bytes) => response.end(bytes),
      () => response.writeHead(404).end(),
    );
  });
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  return { server, manifestUrl: `http://127.0.0.1:${server.address().port}/manifest.json` };
}

function farthest(values, reference) {
  const errors = values.map((value, i) => Math.abs(value - reference[i]));
  return Math.max(...errors) / Math.max(...reference.map(Math.abs));
}

const adapter = await offerWebGpu();
console.log(JSON.stringify({ adapter }));
const folder = await mkdtemp(join(tmpdir(), "brushlet-dawn-"));
const { server, manifestUrl } = await serve(
  resolve(options.bundle),
  options["fp16-tolerance"] && Number(options["fp16-tolerance"]),
);
const runtimeUrl = pathToFileURL(runtime).href;
let failed = false;
try {
  const { Engine } = await buildEngine(folder);
  const manifest = await (await fetch(manifestUrl)).json();
  const { model, samplers, styles = [] } = manifest;
  const width = model.cross_attention_dim;
  const words = (phase) => ({
    data: Float32Array.from({ length: 77 * width }, (_, i) => Math.sin(i * 1.7 + phase)),
    shape: [1, 77, width],
  });
  const style = styles.find(({ kind, pack }) => kind === "external" && pack);
  const picture = {
    promptEmbeds: words(0),
    negativePromptEmbeds: words(1),
    styles: style ? [{ name: style.name, strength: 0.8 }] : [],
    seed: 3,
    steps: Number(options.steps),
    guidanceScale: 4,
    sampler: samplers[0].name,
    height: model.sample_size,
    width: model.sample_size,
    preview: false,
  };
  const draw = async (way) => {
    const engine = await Engine.open({ manifestUrl, runtimeUrl, providers: [way] });
    const { latents } = await engine.denoise(picture);
    const { milliseconds } = await engine.denoise(picture); // shaders are compiled by now
    return { report: engine.report, latents: [...latents.data], milliseconds };
  };
  const reference = await draw({ provider: "wasm", threads: 1 });
  for (const provider of options.providers.split(",")) {
    for (const compute of options.compute.split(",")) {
      const line = { provider, compute };
      try {
        const { report, latents, milliseconds } = await draw({ provider, compute });
        const { error, tolerance, refused } = report;
        const step = milliseconds / picture.steps;
        const fromWasm = farthest(latents, reference.latents);
        Object.assign(line, { error, tolerance, refused, fromWasm, step });
      } catch (thrown) {
        failed = true;
        line.failed = String(thrown);
      }
      console.log(JSON.stringify(line));
    }
  }
} finally {
  server.close();
  server.closeAllConnections();
  await rm(folder, { recursive: true });
}
process.exit(Number(failed)); // Dawn's threads would keep Node alive
