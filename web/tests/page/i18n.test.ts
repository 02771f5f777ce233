import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { chooseLanguage } from "../../src/i18n";
import en from "../../src/i18n/en.json";
import zh from "../../src/i18n/zh.json";

type Texts = { [key: string]: string | Texts };

function flatten(texts: Texts, path = ""): Map<string, string> {
  const entries = Object.entries(texts).flatMap(([key, value]) =>
    typeof value === "string"
      ? [[path + key, value] as const]
      : [...flatten(value, `${path}${key}.`)],
  );
  return new Map(entries);
}

const [english, chinese] = [flatten(en), flatten(zh)];

const source = readdirSync("src/page", { recursive: true, encoding: "utf8" })
  .filter((name) => /\.tsx?$/.test(name))
  .map((name) => readFileSync(join("src/page", name), "utf8"))
  .join("\n");

/** Every key that the source names: `problem.${code}.title` becomes /^problem\.[^.]+\.title$/. */
const named = [...source.matchAll(/(["`])([a-z]+\.(?:[\w.-]|\$\{[^}]*\})+)\1/g)]
  .map(([, , key]) => (key as string).split(/\$\{[^}]*\}/))
  .map((parts) => parts.map((part) => part.replaceAll(".", "\\.")).join("[^.]+"))
  .map((pattern) => new RegExp(`^${pattern}(_one|_other)?$`));

describe("translations", () => {
  test("have the same keys", () => {
    expect([...chinese.keys()].sort()).toEqual([...english.keys()].sort());
  });

  test("have the same places to fill in", () => {
    const places = (text = "") => [...text.matchAll(/\{\{\w+\}\}/g)].map(String).sort();
    for (const [key, text] of english) expect(places(chinese.get(key)), key).toEqual(places(text));
  });

  test("are all used", () => {
    const unused = [...english.keys()].filter((key) => !named.some((name) => name.test(key)));
    expect(unused).toEqual([]);
  });

  test("leave no text in the components", () => {
    const spoken = [...source.matchAll(/>\s*([A-Z][a-z]+ [a-z ]+)\s*</g)].map(([, text]) => text);
    expect(spoken).toEqual([]);
  });
});

test("the language is the remembered one, the visitor's first that we speak, or English", () => {
  expect(chooseLanguage("zh", ["en-US"])).toBe("zh");
  expect(chooseLanguage(null, ["fr-FR", "zh-Hans-CN", "en"])).toBe("zh");
  expect(chooseLanguage("tlh", ["de"])).toBe("en");
});
