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

/**
 * The first fault of `value` as a `definition` of the schema, with its place ("unet[0].golden: is
 * missing"), or undefined when there is none.
 */
export function faultIn(value: unknown, definition: keyof BundleFiles): string | undefined {
  return fault(value, definitions[definition] as Node, "");
}

function fault(value: unknown, node: Node, place: string): string | undefined {
  const wrong = (what: string) => `${place || "the file"} ${what}`;
  if (node.$ref) {
    return fault(value, definitions[node.$ref.replace("#/$defs/", "")] as Node, place);
  }
  if (node.anyOf) {
    const faults = node.anyOf.map((choice) => fault(value, choice, place));
    return faults.includes(undefined) ? undefined : faults[0];
  }
  if (node.const !== undefined && value !== node.const) return wrong(`is not ${node.const}`);
  if (node.enum && !node.enum.includes(value)) return wrong(`is none of ${node.enum.join(", ")}`);
  if (node.type && !isOfType(value, node.type)) return wrong(`is not of type ${node.type}`);
  if (typeof value === "string" && node.pattern && !new RegExp(node.pattern, "u").test(value)) {
    return wrong("has a form that is not allowed");
  }
  if (typeof value === "number" && node.minimum !== undefined && value < node.minimum) {
    return wrong(`is below ${node.minimum}`);
  }
  if (Array.isArray(value)) return faultInItems(value, node, place);
  if (isRecord(value)) return faultInFields(value, node, place);
  return undefined;
}

function faultInItems(items: unknown[], node: Node, place: string): string | undefined {
  if (items.length < (node.minItems ?? 0)) return `${place} has too few items`;
  for (const [i, item] of items.entries()) {
    const itemNode = node.prefixItems?.[i] ?? node.items;
    const found = itemNode && fault(item, itemNode, `${place}[${i}]`);
    if (found) return found;
  }
  return undefined;
}

function faultInFields(
  fields: Record<string, unknown>,
  node: Node,
  place: string,
): string | undefined {
  const below = (key: string) => (place ? `${place}.${key}` : key);
  for (const key of node.required ?? []) {
    if (!Object.hasOwn(fields, key)) return `${below(key)} is missing`;
  }
  for (const [key, value] of Object.entries(fields)) {
    const known = node.properties && Object.hasOwn(node.properties, key);
    const rest = typeof node.additionalProperties === "object" ? node.additionalProperties : null;
    const fieldNode = known ? node.properties?.[key] : rest;
    const found = fieldNode && fault(value, fieldNode, below(key));
    if (found) return found;
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
