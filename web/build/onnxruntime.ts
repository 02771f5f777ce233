/** What both builds, page and package, do with onnxruntime-web. */

import { createReadStream } from "node:fs";
import { copyFile, mkdir } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import type { Plugin, UserConfig } from "vite";

/** Threads in WebAssembly need a cross-origin isolated page. */
export const isolation = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
};

/** One pair per entry point of onnxruntime-web 1.30: `/wasm`, `/webgpu` (native) and `/all` (JSEP). */
const files = ["", ".asyncify", ".jsep"].flatMap((build) =>
  ["mjs", "wasm"].map((extension) => `ort-wasm-simd-threaded${build}.${extension}`),
);
const folder = fileURLToPath(new URL("../node_modules/onnxruntime-web/dist/", import.meta.url));

/** Puts onnxruntime-web's own files under `ort/`, by name, so that no CDN is asked for them. */
export function serveRuntime(): Plugin {
  let outDir = "";
  return {
    name: "brushlet-serve-runtime",
    configResolved(config) {
      outDir = `${config.root}/${config.build.outDir}/ort/`;
    },
    configureServer(server) {
      server.middlewares.use("/ort", (request, response, next) => {
        const name = (request.url ?? "").replace(/^\//, "").replace(/\?.*/, "");
        if (!files.includes(name)) return next();
        const type = name.endsWith(".mjs") ? "text/javascript" : "application/wasm";
        response.writeHead(200, { ...isolation, "Content-Type": type });
        createReadStream(folder + name).pipe(response);
      });
    },
    async writeBundle() {
      await mkdir(outDir, { recursive: true });
      await Promise.all(files.map((name) => copyFile(folder + name, outDir + name)));
    },
  };
}

/** The single-threaded instance of a build (`?single`) is told from the other by its name. */
function chunkFileNames({ facadeModuleId }: { facadeModuleId: string | null }): string {
  return `assets/[name]${facadeModuleId?.endsWith("?single") ? ".single" : ""}-[hash].js`;
}

export const engineBuild = {
  // The builds without embedded loaders: they take .mjs and .wasm from `runtimeUrl`.
  resolve: {
    conditions: ["onnxruntime-web-use-extern-wasm", "module", "browser", "development|production"],
  },
  worker: { format: "es", rolldownOptions: { output: { chunkFileNames } } },
} satisfies UserConfig;
