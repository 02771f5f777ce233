import { createReadStream } from "node:fs";
import { copyFile, mkdir } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import react from "@vitejs/plugin-react";
import { defineConfig, type Plugin } from "vite";

/** Threads in WebAssembly need a cross-origin isolated page. */
const isolation = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
};

/** One pair per entry point of onnxruntime-web 1.30: `/wasm`, `/webgpu` (native) and `/all` (JSEP). */
const runtimeFiles = ["", ".asyncify", ".jsep"].flatMap((build) =>
  ["mjs", "wasm"].map((extension) => `ort-wasm-simd-threaded${build}.${extension}`),
);
const runtimeFolder = fileURLToPath(new URL("node_modules/onnxruntime-web/dist/", import.meta.url));

/** Puts onnxruntime-web's own files under `ort/`, by name, so that no CDN is asked for them. */
function serveRuntime(): Plugin {
  let outDir = "";
  return {
    name: "brushlet-serve-runtime",
    configResolved(config) {
      outDir = `${config.root}/${config.build.outDir}/ort/`;
    },
    configureServer(server) {
      server.middlewares.use("/ort", (request, response, next) => {
        const name = (request.url ?? "").replace(/^\//, "").replace(/\?.*/, "");
        if (!runtimeFiles.includes(name)) return next();
        const type = name.endsWith(".mjs") ? "text/javascript" : "application/wasm";
        response.writeHead(200, { ...isolation, "Content-Type": type });
        createReadStream(runtimeFolder + name).pipe(response);
      });
    },
    async writeBundle() {
      await mkdir(outDir, { recursive: true });
      await Promise.all(runtimeFiles.map((name) => copyFile(runtimeFolder + name, outDir + name)));
    },
  };
}

/** `make serve`, which encodes prompts, decodes latents and serves the bundle. */
const python = process.env.BRUSHLET_SERVER ?? "http://127.0.0.1:8000";

export default defineConfig({
  // Relative addresses, so that the page may lie in any folder of a static host.
  base: "./",
  plugins: [react(), serveRuntime()],
  // The builds without embedded loaders: they take .mjs and .wasm from `runtimeUrl`.
  resolve: {
    conditions: ["onnxruntime-web-use-extern-wasm", "module", "browser", "development|production"],
  },
  worker: { format: "es" },
  build: { target: "es2022" },
  // Named, because the dev server finds what only the worker imports too late and reloads the page.
  optimizeDeps: { include: ["hash-wasm"], exclude: ["onnxruntime-web"] },
  server: {
    headers: isolation,
    proxy: { "/v1": python, "/bundle": python, "/livez": python, "/readyz": python },
  },
  preview: { headers: isolation },
});
