import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";
import { VitePWA } from "vite-plugin-pwa";
import { engineBuild, isolation, serveRuntime } from "./build/onnxruntime.ts";

/** `make serve`, which encodes prompts, decodes latents and serves the bundle. */
const python = process.env.BRUSHLET_SERVER ?? "http://127.0.0.1:8000";

/** The page and its service worker, which knows what the page consists of. */
const serviceWorker = VitePWA({
  strategies: "injectManifest",
  srcDir: "src/sw",
  filename: "sw.ts",
  injectRegister: false, // src/page/offline.ts does
  manifest: false, // public/manifest.webmanifest, in two languages
  injectManifest: {
    globPatterns: ["index.html", "favicon.svg", "assets/*.{js,css}"],
    // A device needs one of these builds: it is kept when it is used.
    globIgnores: ["assets/ort.*"],
    dontCacheBustURLsMatching: /^assets\/.*-[\w-]{8}\.\w+$/,
  },
});

export default defineConfig({
  ...engineBuild,
  // Relative addresses, so that the page may lie in any folder of a static host.
  base: "./",
  plugins: [react(), serveRuntime(), serviceWorker],
  build: { target: "es2022" },
  // Named, because the dev server finds what only the worker imports too late and reloads the page.
  optimizeDeps: { include: ["hash-wasm"], exclude: ["onnxruntime-web"] },
  server: {
    headers: isolation,
    proxy: { "/v1": python, "/bundle": python, "/livez": python, "/readyz": python },
  },
  preview: { headers: isolation },
});
