/**
 * Holds JSON against the schema that runtime/manifest.py gives: as much of JSON Schema as pydantic
 * writes for it. Unknown keys pass, so that a later exporter may add some within a version.
 */

import type { BundleFiles } from "./manifest.gen";
import schema from "./manifest.schema.json";

type Node = {
  $ref?: string;
  anyOf?: Node[];
  type?: string;
  const?: unknown;
  enum?: unknown[];
  pattern?: string;
  minimum?: number;
  items?: Node;
  prefixItems?: Node[];
  minItems?: number;
  properties?: Record<string, Node>;
  required?: string[];
  additionalProperties?: Node | boolean;
};

const definitions = schema.$defs as unknown as Record<string, Node>;

/** What is wrong, and where: keys and indices from the outside in, put together as a fault comes up. */
interface Fault {
  path: (string | number)[];
  what: string;
}

/**
 * The first fault of `value` as a `definition` of the schema, with its place ("unet[0].golden is
 * missing"), or undefined when there is none.
 */
export function faultIn(value: unknown, definition: keyof BundleFiles): string | undefined {
  const found = fault(value, definitions[definition] as Node);
  if (!found) return undefined;
  const place = found.path
    .map((key) => (typeof key === "number" ? `[${key}]` : `.${key}`))
    .join("");
  return `${place.replace(/^\./, "") || "the file"} ${found.what}`;
}

function fault(value: unknown, node: Node): Fault | undefined {
  if (node.$ref) return fault(value, definitions[node.$ref.replace("#/$defs/", "")] as Node);
  if (node.anyOf) {
    const faults = node.anyOf.map((choice) => fault(value, choice));
    return faults.includes(undefined) ? undefined : faults[0];
  }
  if (node.const !== undefined && value !== node.const) return wrong(`is not ${node.const}`);
  if (node.enum && !node.enum.includes(value)) return wrong(`is none of ${node.enum.join(", ")}`);
  if (node.type && !isOfType(value, node.type)) return wrong(`is not of type ${node.type}`);
  if (typeof value === "string" && node.pattern && !patternOf(node.pattern).test(value)) {
    return wrong("has a form that is not allowed");
  }
  if (typeof value === "number" && node.minimum !== undefined && value < node.minimum) {
    return wrong(`is below ${node.minimum}`);
  }
  if (Array.isArray(value)) return faultInItems(value, node);
  if (isRecord(value)) return faultInFields(value, node);
  return undefined;
}

const wrong = (what: string): Fault => ({ path: [], what });

function below(key: string | number, found: Fault): Fault {
  found.path.unshift(key);
  return found;
}

const patterns = new Map<string, RegExp>();

function patternOf(source: string): RegExp {
  const pattern = patterns.get(source) ?? new RegExp(source, "u");
  patterns.set(source, pattern);
  return pattern;
}

function faultInItems(items: unknown[], node: Node): Fault | undefined {
  if (items.length < (node.minItems ?? 0)) return wrong("has too few items");
  for (let i = 0; i < items.length; i++) {
    const itemNode = node.prefixItems?.[i] ?? node.items;
    const found = itemNode && fault(items[i], itemNode);
    if (found) return below(i, found);
  }
  return undefined;
}

function faultInFields(fields: Record<string, unknown>, node: Node): Fault | undefined {
  for (const key of node.required ?? []) {
    if (!Object.hasOwn(fields, key)) return below(key, wrong("is missing"));
  }
  const rest = typeof node.additionalProperties === "object" ? node.additionalProperties : null;
  for (const key of Object.keys(fields)) {
    const known = node.properties && Object.hasOwn(node.properties, key);
    const fieldNode = known ? node.properties?.[key] : rest;
    const found = fieldNode && fault(fields[key], fieldNode);
    if (found) return below(key, found);
  }
  return undefined;
}

function isOfType(value: unknown, type: string): boolean {
  if (type === "object") return isRecord(value);
  if (type === "array") return Array.isArray(value);
  if (type === "integer") return Number.isSafeInteger(value);
  if (type === "number") return Number.isFinite(value);
  if (type === "null") return value === null;
  return typeof value === type; // "string" or "boolean"
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
