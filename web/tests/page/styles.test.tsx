/** Choosing a style like choosing a filter: what an artist does with cards, words, files and links. */

import {
  act,
  cleanup,
  configure,
  fireEvent,
  render,
  screen,
  waitFor,
} from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { speak, startI18n } from "../../src/i18n";
import { App } from "../../src/page/App";
import type { Address } from "../../src/page/address";
import { fakeManifest, file, style } from "../manifest";
import { type Fake, fakeServices } from "./fake/services";

vi.setConfig({ testTimeout: 120_000 });
configure({ asyncUtilTimeout: 30_000 });

beforeEach(async () => {
  localStorage.clear();
  await startI18n();
  await speak("en");
});
afterEach(cleanup);

const byId = (id: string) => screen.getByTestId(id);
const value = (id: string) => (byId(id) as HTMLInputElement).value;
const isOn = (name: string) => byId(`style-${name}`).getAttribute("aria-pressed") === "true";
const strength = (name: string) => byId(`strength-${name}`).getAttribute("aria-valuenow");

/** The page on a bundle whose first style has templates and examples. */
function bundle() {
  const miyazaki = style("miyazaki", {
    templates: [{ title: "meadow", titles: { zh: "花田" }, prompt: "{trigger}, a windmill, day" }],
    examples: [file("styles/a.webp"), file("styles/b.webp"), file("styles/c.webp")],
  });
  const manifest = fakeManifest([miyazaki, style("gothic"), style("cyberpunk")]);
  manifest.hints.templates = [{ title: "by the sea", prompt: "a lighthouse, {trigger}, sea" }];
  return manifest;
}

async function open(fake: Fake = fakeServices(bundle()), address?: Address) {
  const user = userEvent.setup({ delay: null });
  render(<App services={fake} {...(address && { address })} />);
  await screen.findByTestId("prompt");
  await waitFor(() => expect(fake.loads).not.toHaveLength(0));
  await act(async () => fake.finishLoad());
  return { fake, user };
}

type Page = Awaited<ReturnType<typeof open>>;

async function paint({ fake, user }: Page) {
  const count = fake.asked.length + 1;
  await user.click(byId("generate"));
  await waitFor(() => expect(fake.asked).toHaveLength(count));
  await act(async () => fake.asked[count - 1]?.finish());
  return fake;
}

const idea = (name: RegExp) => screen.getByRole("button", { name });

/** Lets files fall on the page, as a browser tells it. */
async function drop(...files: File[]) {
  const dataTransfer = { types: ["Files"], files };
  fireEvent.dragEnter(document.body, { dataTransfer });
  byId("drop");
  await act(async () => {
    fireEvent.drop(document.body, { dataTransfer });
  });
  expect(screen.queryByTestId("drop")).toBeNull();
}

describe("ideas", () => {
  test("of a style bring the style and its words in one click", async () => {
    const page = await open();
    await page.user.click(byId("style-miyazaki"));
    await page.user.click(byId("style-gothic"));
    await page.user.click(idea(/^Miyazaki – meadow/));
    expect([isOn("miyazaki"), isOn("gothic")]).toEqual([true, false]);
    expect(value("prompt")).toBe("{trigger}, a windmill, day");
    expect(idea(/^Miyazaki – meadow/).getAttribute("aria-pressed")).toBe("true");
    const { words } = await paint(page);
    expect(words.at(-1)?.prompt).toBe("miyazaki style, a windmill, day");
  });

  test("of the base take whatever style is on, and its words go when it goes", async () => {
    const page = await open();
    await page.user.click(idea(/^by the sea/));
    expect((await paint(page)).words.at(-1)?.prompt).toBe("a lighthouse, miyazaki style, sea");
    await page.user.click(byId("style-gothic"));
    expect(byId("triggers").textContent).toContain("In place of {trigger}");
    const both = "a lighthouse, miyazaki style, gothic style, sea";
    expect((await paint(page)).words.at(-1)?.prompt).toBe(both);
    await page.user.click(byId("style-miyazaki"));
    await page.user.click(byId("style-gothic"));
    screen.getByText(/\{trigger\} is left out/);
    expect((await paint(page)).words.at(-1)?.prompt).toBe("a lighthouse, sea");
  });

  test("are named in the page's language", async () => {
    await open();
    await act(() => speak("zh"));
    screen.getByRole("button", { name: /花田/ });
  });
});

describe("tags in the prompt", () => {
  test("set the sliders of the styles that they name, and leave the words", async () => {
    const page = await open();
    await page.user.clear(byId("prompt"));
    await page.user.click(byId("prompt"));
    await page.user.paste("a lake, <lora:gothic:0.4>, <lora:Miyazaki:9> fog");
    expect(value("prompt")).toBe("a lake, fog");
    expect([strength("gothic"), strength("miyazaki")]).toEqual(["0.4", "9"]);
    expect(byId("strength-miyazaki").getAttribute("aria-valuemax")).toBe("9");
    expect(byId("note").textContent).toContain("Miyazaki 9");
  });

  test("that nobody knows are shown, and not sent", async () => {
    const page = await open();
    await page.user.clear(byId("prompt"));
    await page.user.click(byId("prompt"));
    await page.user.paste("a lake<lora:ink:1>");
    expect(byId("strange-tags").textContent).toContain("<lora:ink:1>");
    expect((await paint(page)).words.at(-1)?.prompt).toBe("miyazaki style, a lake");
  });
});

describe("a card", () => {
  test("shows its examples while it has the focus, until Escape", async () => {
    const { user } = await open();
    byId("style-miyazaki").focus();
    const peek = await screen.findByTestId("peek");
    expect(peek.querySelectorAll("img")).toHaveLength(3);
    expect(byId("style-miyazaki").getAttribute("aria-describedby")).toBe(peek.id);
    await user.keyboard("{Escape}");
    await waitFor(() => expect(screen.queryByTestId("peek")).toBeNull());
  });

  test("shows them to a finger that rests, without being chosen", async () => {
    await open();
    const card = byId("style-gothic");
    fireEvent.pointerDown(card, { pointerType: "touch" });
    await screen.findByTestId("peek");
    fireEvent.pointerUp(card, { pointerType: "touch" });
    fireEvent.click(card);
    expect(isOn("gothic")).toBe(false);
  });
});

test("several styles show their measured shares", async () => {
  const fake = fakeServices(bundle());
  const norms = { unet: 1, textEncoder: 0 };
  fake.answers.contributions = [
    { name: "miyazaki", share: 0.625, ...norms },
    { name: "gothic", share: 0.375, ...norms },
  ];
  const { user } = await open(fake);
  expect(screen.queryByTestId("shares")).toBeNull();
  await user.click(byId("style-gothic"));
  const bar = await screen.findByRole("img", { name: /Miyazaki 63%, Gothic 38%/ });
  expect(fake.calls.at(-1)?.request).toEqual([
    { name: "miyazaki", strength: 0.8 },
    { name: "gothic", strength: 0.8 },
  ]);
  expect([...bar.children].map((part) => (part as HTMLElement).style.flexGrow)).toEqual([
    "0.625",
    "0.375",
  ]);
});

describe("a LoRA file that is dropped", () => {
  const lora = new File(["tensors"], "Ink Wash.safetensors");

  test("becomes a card, chosen, marked, and can be taken away", async () => {
    const fake = fakeServices(bundle());
    fake.answers["add-style"] = { ...style("ink-wash"), kept: "device", notes: [] };
    fake.answers["remove-style"] = null;
    const page = await open(fake);
    const sidecar = new File(["{}"], "Ink Wash.json"); // and no recipe
    await drop(sidecar, lora);
    await screen.findByTestId("style-ink-wash");
    await waitFor(() => expect(isOn("ink-wash")).toBe(true));
    expect(isOn("miyazaki")).toBe(false);
    expect(byId("style-ink-wash").textContent).toContain("only here");
    const sent = (type: string) => fake.calls.find((call) => call.type === type)?.request;
    expect(sent("add-style")).toEqual({
      name: "Ink Wash.safetensors",
      bytes: lora,
      beside: [{ name: "Ink Wash.json", bytes: sidecar }],
    });
    expect((await paint(page)).asked.at(-1)?.request.styles).toEqual([
      { name: "ink-wash", strength: 0.8 },
    ]);
    await page.user.click(byId("remove-ink-wash"));
    await waitFor(() => expect(screen.queryByTestId("style-ink-wash")).toBeNull());
    expect(sent("remove-style")).toBe("ink-wash");
  });

  test("on an earlier visit is there again", async () => {
    const fake = fakeServices(bundle());
    fake.answers["local-styles"] = [{ ...style("ink"), kept: "device", notes: [] }];
    await open(fake);
    await screen.findByTestId("remove-ink");
    expect([isOn("ink"), isOn("miyazaki")]).toEqual([false, true]);
  });

  test("and is none says why", async () => {
    const fake = fakeServices(bundle());
    const message = "Its keys match no layer of this model.";
    fake.refusals["add-style"] = { code: "lora", message };
    await open(fake);
    await drop(lora);
    expect((await screen.findByTestId("error")).textContent).toContain(message);
    expect(byId("error").textContent).toContain("Ink Wash.safetensors");
  });
});

test("a file that is nothing here is named", async () => {
  await open();
  await drop(new File(["?"], "notes.txt", { type: "text/plain" }));
  expect(byId("note").textContent).toContain("notes.txt");
});

test("a recipe that is dropped sets the styles, and says which it has not", async () => {
  const { user } = await open();
  const recipe = {
    pack_name: "Dusk",
    loras: [
      { name: "Gothic", path: "gothic.safetensors", default_weight: 0.35 },
      { name: "Ink", path: "loras/ink.safetensors" },
    ],
    settings: { prompt: "a lake", seed: 9 },
  };
  await drop(new File([JSON.stringify(recipe)], "dusk.json"));
  await waitFor(() => expect(value("prompt")).toBe("a lake"));
  expect([isOn("miyazaki"), isOn("gothic"), strength("gothic")]).toEqual([false, true, "0.35"]);
  expect(value("seed")).toBe("9");
  expect(byId("note").textContent).toBe("Recipe “Dusk” is set. Not styles of this page: Ink.");
  await user.click(byId("language"));
  expect(byId("note").textContent).toBe("已套用配方“Dusk”。本页没有这些风格：Ink。");
  await user.click(byId("language"));
  await drop(new File(["[]"], "list.json"));
  expect(byId("note").textContent).toContain("It is not a JSON object.");
});

describe("a picture to begin from", () => {
  test("goes with the order, with how far it is left, and can be taken away", async () => {
    vi.stubGlobal("createImageBitmap", async () => ({ close() {} }));
    const page = await open();
    await drop(new File(["pixels"], "sketch.png", { type: "image/png" }));
    await screen.findByTestId("source-picture");
    byId("source-strength").focus();
    await page.user.keyboard("{ArrowRight}");
    expect(byId("source-strength").getAttribute("aria-valuenow")).toBe("0.65");
    await page.user.click(byId("source-remove"));
    expect(screen.queryByTestId("source-picture")).toBeNull();
    vi.unstubAllGlobals();
  });
});

describe("compare", () => {
  test("holds the base of the same seed, painted once, while it is pressed", async () => {
    const page = await open();
    const { fake, user } = page;
    await paint(page);
    const button = byId("compare");
    fireEvent.pointerDown(button, { button: 0 });
    await waitFor(() => expect(fake.asked).toHaveLength(2));
    expect(fake.asked[1]?.request).toMatchObject({ styles: [], seed: 1 });
    expect(fake.words[1]?.prompt).toBe("a castle, clouds, green hills, day");
    await act(async () => fake.asked[1]?.finish());
    await screen.findByTestId("base");
    await new Promise((resolve) => setTimeout(resolve, 400));
    fireEvent.pointerUp(button);
    expect(screen.queryByTestId("base")).toBeNull();
    await user.keyboard("{Alt>}b{/Alt}"); // a short press stays
    byId("base");
    expect(button.getAttribute("aria-pressed")).toBe("true");
    fireEvent.click(button); // as a screen reader does it
    expect(screen.queryByTestId("base")).toBeNull();
    button.focus();
    await user.keyboard("{Enter}");
    byId("base");
    expect(fake.asked).toHaveLength(2);
  });

  test("is not offered where there is nothing to take away", async () => {
    const page = await open();
    await page.user.click(byId("style-miyazaki"));
    await paint(page);
    byId("result");
    expect(screen.queryByTestId("compare")).toBeNull();
  });
});

test("a shape is asked of the worker in latents", async () => {
  const page = await open();
  await page.user.click(byId("shape-portrait"));
  const request = (await paint(page)).asked.at(-1)?.request;
  expect([request?.width, request?.height]).toEqual([14, 18]);
});

describe("the address", () => {
  function bar(hash = "") {
    let changed = () => {};
    const address = {
      hash,
      read: () => address.hash,
      replace: (next: string) => {
        address.hash = next;
      },
      watch: (listener: () => void) => {
        changed = listener;
        return () => {};
      },
      go: (next: string) => {
        address.hash = next;
        changed();
      },
    };
    return address;
  }

  test("is read at the start, names what is missing, and is replaced as settings change", async () => {
    const address = bar("#prompt=a+lake&styles=gothic:0.4,ink:1&seed=7");
    const { user } = await open(fakeServices(bundle()), address);
    expect(value("prompt")).toBe("a lake");
    expect([isOn("miyazaki"), strength("gothic"), value("seed")]).toEqual([false, "0.4", "7"]);
    await waitFor(() => expect(byId("note").textContent).toContain("ink"));
    await user.type(byId("prompt"), " & hills");
    await waitFor(() =>
      expect(address.hash).toMatch(/^#prompt=a\+lake\+%26\+hills&styles=gothic:0\.4&/),
    );
    await act(async () => address.go("#prompt=a+house&size=13x7&sampler=plms"));
    expect(value("prompt")).toBe("a house");
    await waitFor(() => expect(byId("note").textContent).toContain("13x7"));
    expect(byId("note").textContent).toContain("“plms”");
    await act(async () => address.go("#prompt=a+house"));
    expect(byId("note").textContent).toBe("");
    const before = address.hash;
    await act(async () => address.go("#picture")); // the skip link's
    expect(address.hash).toBe(before);
  });

  test("may ask for a size that is no usual shape, which is shown as one more", async () => {
    const { user } = await open(fakeServices(bundle()), bar("#size=136x152"));
    const other = byId("shape-other") as HTMLInputElement;
    expect([other.checked, other.getAttribute("aria-label")]).toEqual([
      true,
      "Another size, 136 × 152",
    ]);
    await user.click(byId("shape-square"));
    expect(screen.queryByTestId("shape-other")).toBeNull();
  });

  test("stays empty until something is chosen", async () => {
    const address = bar();
    await open(fakeServices(bundle()), address);
    await new Promise((resolve) => setTimeout(resolve, 600));
    expect(address.hash).toBe("");
  });
});

test("dark and light are a switch, which is remembered until it is what the system wants", async () => {
  const { user } = await open();
  await user.click(byId("theme"));
  expect(document.documentElement.dataset.theme).toBe("dark");
  expect(localStorage.getItem("brushlet.theme")).toBe("dark");
  await user.click(byId("theme"));
  expect(document.documentElement.dataset.theme).toBeUndefined();
  expect(localStorage.getItem("brushlet.theme")).toBeNull();
});
