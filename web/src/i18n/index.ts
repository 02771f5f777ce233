/** Chinese and English: which one is shown, remembered, and told to the browser. */

import i18next from "i18next";
import { initReactI18next } from "react-i18next";
import en from "./en.json";
import zh from "./zh.json";

declare module "i18next" {
  interface CustomTypeOptions {
    defaultNS: "translation";
    resources: { translation: typeof en };
  }
}

export const languages = ["en", "zh"] as const;
export type Language = (typeof languages)[number];

const memory = "brushlet.language";
const tags: Record<Language, string> = { en: "en", zh: "zh-CN" };
/** How the page is called where it is installed. */
const manifests: Record<Language, string> = {
  en: "manifest.webmanifest",
  zh: "manifest.zh.webmanifest",
};

/** Tells the browser which language the page is in. */
function declare(language: Language): void {
  document.documentElement.lang = tags[language];
  const link = document.querySelector<HTMLLinkElement>("link[rel=manifest]");
  if (link) link.href = `./${manifests[language]}`;
}

/** The remembered language, else the visitor's first one that we speak, else English. */
export function chooseLanguage(remembered: string | null, preferred: readonly string[]): Language {
  const known = (tag: string | null) =>
    languages.find((language) => tag?.toLowerCase().split("-")[0] === language);
  return known(remembered) ?? preferred.map(known).find((language) => language) ?? "en";
}

function recall(): string | null {
  try {
    return localStorage.getItem(memory);
  } catch {
    return null; // storage is off (private window): the visitor's own preference decides
  }
}

/** Shows the page in `language` and remembers it where the browser allows. */
export async function speak(language: Language): Promise<void> {
  await i18next.changeLanguage(language);
  declare(language);
  try {
    localStorage.setItem(memory, language);
  } catch {
    // storage is off: the choice holds until the page is closed
  }
}

/** Prepares translations; call once before the first render. */
export async function startI18n(): Promise<void> {
  const language = chooseLanguage(recall(), navigator.languages);
  await i18next.use(initReactI18next).init({
    lng: language,
    fallbackLng: "en",
    resources: { en: { translation: en }, zh: { translation: zh } },
    interpolation: { escapeValue: false }, // React escapes
  });
  declare(language);
}
