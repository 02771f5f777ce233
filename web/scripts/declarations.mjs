/**
 * Makes lib/types/ what a consumer needs: the declarations that the front door leads to, with the
 * suffixes that `moduleResolution: nodenext` asks for, and no others.
 */
import { readdirSync, readFileSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const types = fileURLToPath(new URL("../lib/types/", import.meta.url));
const relative = /(?<=\bfrom ")\.{1,2}\/[^"]+(?=")/g;
const reached = new Set();

/** `./library` is the folder's index.d.ts, `./open` is open.d.ts. */
function fileOf(address) {
  const index = join(address, "index.d.ts");
  return names.has(index) ? index : `${address}.d.ts`;
}

function reach(file) {
  if (reached.has(file)) return;
  reached.add(file);
  const text = readFileSync(file, "utf8").replace(relative, (address) => {
    const target = fileOf(resolve(dirname(file), address));
    reach(target);
    return address + (target.endsWith("/index.d.ts") ? "/index.js" : ".js");
  });
  writeFileSync(file, text);
}

const all = readdirSync(types, { recursive: true, withFileTypes: true });
const names = new Set(
  all.filter((entry) => entry.isFile()).map(({ parentPath, name }) => join(parentPath, name)),
);
reach(join(types, "engine/index.d.ts"));
for (const file of names) if (!reached.has(file)) rmSync(file);
for (const entry of all) {
  const folder = join(entry.parentPath, entry.name);
  if (entry.isDirectory() && readdirSync(folder).length === 0) rmdirSync(folder);
}
