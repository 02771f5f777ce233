/**
 * Writes src/bundle/manifest.schema.json and manifest.gen.ts from `python -m runtime.manifest`.
 * With --check nothing is written and a stale file is an error; where there is no Python, the
 * TypeScript is still held against the stored schema.
 */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { compile } from "json-schema-to-typescript";

const repository = fileURLToPath(new URL("../../", import.meta.url));
const bundleFolder = fileURLToPath(new URL("../src/bundle/", import.meta.url));
const schemaPath = `${bundleFolder}manifest.schema.json`;
const typesPath = `${bundleFolder}manifest.gen.ts`;
const checking = process.argv.includes("--check");

function schemaFromPython() {
  const own = `${repository}.venv/bin/python`;
  const python = process.env.PYTHON ?? (existsSync(own) ? own : undefined);
  if (!python) return undefined;
  return execFileSync(python, ["-m", "runtime.manifest"], { cwd: repository, encoding: "utf8" });
}

/**
 * JSON Schema as json-schema-to-typescript wants it: no field titles (each would become an alias), a
 * described `$ref` as `allOf` (or it is copied as FileRef1, FileRef2, ...), tuples as item lists.
 */
function plain(node) {
  if (Array.isArray(node)) return node.map(plain);
  if (node === null || typeof node !== "object") return node;
  if (node.$ref && node.description) {
    return { description: node.description, allOf: [{ $ref: node.$ref }] };
  }
  const { prefixItems, title, ...rest } = node;
  const kept = Object.entries(rest).map(([key, value]) => [key, plain(value)]);
  if (typeof title === "object") kept.push(["title", plain(title)]);
  if (prefixItems) kept.push(["items", plain(prefixItems)]);
  return Object.fromEntries(kept);
}

async function typesFrom(schema) {
  const parsed = plain(JSON.parse(schema));
  const roots = ["Manifest", "SlotTable", "SamplerTables", "LoraGrammar"];
  const holder = {
    ...parsed,
    type: "object",
    additionalProperties: false,
    required: roots,
    properties: Object.fromEntries(roots.map((name) => [name, { $ref: `#/$defs/${name}` }])),
  };
  return compile(holder, "BundleFiles", {
    bannerComment:
      "/** Generated from runtime/manifest.py by `npm run schema`: do not edit by hand. */",
    maxItems: -1,
    style: { printWidth: 100 },
  });
}

function settle(path, wanted) {
  if (existsSync(path) && readFileSync(path, "utf8") === wanted) return;
  if (checking) {
    console.error(`${path} is stale against runtime/manifest.py: run \`npm run schema\` in web/`);
    process.exitCode = 1;
  } else {
    writeFileSync(path, wanted);
    console.log(`wrote ${path}`);
  }
}

const schema = schemaFromPython() ?? (checking ? readFileSync(schemaPath, "utf8") : undefined);
if (schema === undefined) {
  console.error("npm run schema needs ../.venv/bin/python (`make setup`) or PYTHON=");
  process.exit(1);
}
settle(schemaPath, schema);
settle(typesPath, await typesFrom(schema));
