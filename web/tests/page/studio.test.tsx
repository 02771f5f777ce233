/** What lies around painting: batches, the gallery, files with settings, grids, this device. */

import "fake-indexeddb/auto";
import { act, cleanup, configure, render, screen, waitFor, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { IDBFactory } from "fake-indexeddb";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { speak, startI18n } from "../../src/i18n";
import { App } from "../../src/page/App";
import { StoragePanel } from "../../src/page/parts/StoragePanel";
import { readText, withText } from "../../src/page/png";
import type { Kept, StorageDesk } from "../../src/page/storagedesk";
import type { Gallery } from "../../src/page/useGallery";
import type { LocalStyles } from "../../src/page/useLocalStyles";
import { style } from "../manifest";
import { type Fake, fakeServices, onePixel } from "./fake/services";

vi.setConfig({ testTimeout: 120_000 });
configure({ asyncUtilTimeout: 30_000 });

/** Everything is in sight. */
class Sight {
  constructor(private readonly seen: (entries: { isIntersecting: boolean }[]) => void) {}
  observe() {
    this.seen([{ isIntersecting: true }]);
  }
  disconnect() {}
}

beforeEach(async () => {
  vi.stubGlobal("indexedDB", new IDBFactory());
  vi.stubGlobal("IntersectionObserver", Sight);
  localStorage.clear();
  await startI18n();
  await speak("en");
});
afterEach(() => {
  cleanup();
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
});

const byId = (id: string) => screen.getByTestId(id);
const all = (id: string) => screen.queryAllByTestId(id);

async function openReady(fake: Fake = fakeServices()) {
  const user = userEvent.setup({ delay: null });
  const page = render(<App services={fake} />);
  await screen.findByTestId("prompt");
  await waitFor(() => expect(fake.loads).not.toHaveLength(0));
  await act(async () => fake.finishLoad());
  await waitFor(() => expect(byId("generate")).toHaveProperty("disabled", false));
  return { fake, user, ...page };
}
type Page = Awaited<ReturnType<typeof openReady>>;

/** Ends the denoise number `count` when it has begun. */
async function finish({ fake }: Page, count: number) {
  await waitFor(() => expect(fake.asked).toHaveLength(count));
  await act(async () => fake.asked[count - 1]?.finish());
}

async function paint(page: Page, prompt: string, seed = 1) {
  await page.user.clear(byId("prompt"));
  await page.user.type(byId("prompt"), prompt);
  await page.user.clear(byId("seed"));
  await page.user.type(byId("seed"), String(seed));
  const count = page.fake.asked.length + 1;
  await page.user.click(byId("generate"));
  await finish(page, count);
  await waitFor(() => expect(byId("result").getAttribute("alt")).toContain(prompt));
}

async function openGallery({ user }: Page) {
  await user.click(byId("gallery"));
  return screen.findByTestId("gallery-dialog");
}

describe("a batch", () => {
  test("paints each picture with the next seed, and says which one it is at", async () => {
    const page = await openReady();
    const { user, fake } = page;
    await user.selectOptions(byId("count"), "3");
    await user.click(byId("generate"));
    await waitFor(() => expect(fake.asked).toHaveLength(1));
    const step = { step: 2, steps: 25, milliseconds: 10 };
    await act(async () => fake.asked[0]?.hooks.onStep?.(step));
    expect(byId("progress").textContent).toContain("Picture 1 of 3 · Step 2 of 25");
    await finish(page, 1);
    await finish(page, 2);
    expect(byId("progress").textContent).toContain("Picture 3 of 3");
    await finish(page, 3);
    expect(fake.asked.map(({ request }) => request.seed)).toEqual([1, 2, 3]);
    const strip = await screen.findByRole("navigation", { name: "Earlier pictures" });
    await waitFor(() => expect(within(strip).getAllByRole("button")).toHaveLength(3));
    expect(byId("download").getAttribute("download")).toBe("brushlet-miyazaki-3.png");
  });

  test("that is cancelled keeps the pictures that are done", async () => {
    const page = await openReady();
    await page.user.selectOptions(byId("count"), "4");
    await page.user.click(byId("generate"));
    await finish(page, 1);
    await waitFor(() => expect(page.fake.asked).toHaveLength(2));
    await page.user.click(byId("cancel"));
    await screen.findByText("Cancelled.");
    expect(byId("result").dataset.number).toBe("1");
    expect(page.fake.asked).toHaveLength(2);
  });
});

describe("the gallery", () => {
  test("brings pictures and their settings back on the next visit", async () => {
    const first = await openReady();
    await paint(first, "a quiet lake", 7);
    await paint(first, "a windmill", 8);
    await openGallery(first);
    await waitFor(() => expect(all("gallery-picture")).toHaveLength(2));
    first.unmount();

    const second = await openReady();
    await waitFor(() => expect(byId("result").getAttribute("alt")).toContain("a windmill"));
    const dialog = await openGallery(second);
    const [newest, oldest] = within(dialog).getAllByTestId("gallery-picture");
    expect(newest?.getAttribute("aria-label")).toContain("a windmill, seed 8");
    await second.user.click(oldest as HTMLElement);
    await waitFor(() => expect(byId("result").getAttribute("alt")).toContain("a quiet lake"));
    expect(screen.queryByTestId("gallery-dialog")).toBeNull();
    await second.user.click(screen.getByRole("button", { name: "Use these settings" }));
    expect(byId("seed")).toHaveProperty("value", "7");
    expect(byId("prompt")).toHaveProperty("value", "a quiet lake");
  });

  test("is searched, and is left by Escape with the focus where it was", async () => {
    const page = await openReady();
    await paint(page, "a quiet lake", 7);
    await paint(page, "a windmill", 8);
    await openGallery(page);
    await waitFor(() => expect(all("gallery-picture")).toHaveLength(2));
    await page.user.type(byId("gallery-search"), "LAKE miyazaki");
    expect(all("gallery-picture")).toHaveLength(1);
    expect(byId("gallery-count").textContent).toBe("1 of 2 pictures");
    await page.user.keyboard("{Escape}");
    expect(screen.queryByTestId("gallery-dialog")).toBeNull();
    expect(document.activeElement).toBe(byId("gallery"));
  });

  test("removes one with the Delete key, brings it back, and removes all when asked twice", async () => {
    const page = await openReady();
    for (const seed of [1, 2, 3]) await paint(page, `picture ${seed}`, seed);
    await openGallery(page);
    await waitFor(() => expect(all("gallery-picture")).toHaveLength(3));
    act(() => all("gallery-picture")[0]?.focus());
    await page.user.keyboard("{ArrowRight}");
    expect(document.activeElement).toBe(all("gallery-picture")[1]);
    await page.user.keyboard("{Delete}");
    await waitFor(() => expect(all("gallery-picture")).toHaveLength(2));
    expect(document.activeElement).toBe(all("gallery-picture")[1]); // the next one
    const labels = () => all("gallery-picture").map((one) => one.getAttribute("aria-label")?.[8]);
    expect(labels()).toEqual(["3", "1"]);
    await page.user.click(byId("gallery-undo"));
    await waitFor(() => expect(labels()).toEqual(["3", "2", "1"]));

    await page.user.click(byId("gallery-clear"));
    await page.user.keyboard("{Escape}"); // answers the question, and no more
    expect(document.activeElement).toBe(byId("gallery-clear"));
    await page.user.click(byId("gallery-clear"));
    await page.user.click(byId("gallery-clear-yes"));
    await waitFor(() => expect(all("gallery-picture")).toHaveLength(0));
    await page.user.keyboard("{Escape}");
    await waitFor(() => expect(screen.queryByTestId("result")).toBeNull());
  });

  test("keeps of live pictures the one that the hand came to rest at", async () => {
    const page = await openReady();
    await page.user.click(byId("live"));
    byId("strength-miyazaki").focus();
    for (const count of [1, 2, 3]) {
      await page.user.keyboard("{ArrowLeft}");
      await finish(page, count);
      await waitFor(() => expect(byId("result").dataset.number).toBe(String(count)));
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    expect(screen.queryByRole("navigation", { name: "Earlier pictures" })).toBeNull();
    await openGallery(page);
    await waitFor(() => expect(all("gallery-picture")).toHaveLength(1));
    await page.user.click(all("gallery-picture")[0] as HTMLElement);
    expect(document.querySelector(".facts")?.textContent).toContain("Miyazaki 0.65");
  });

  test("says when there is no room, and the picture stays on the wall", async () => {
    const page = await openReady();
    const { add } = IDBObjectStore.prototype;
    vi.spyOn(IDBObjectStore.prototype, "add").mockImplementation(function (this: IDBObjectStore) {
      throw new DOMException("full", "QuotaExceededError");
    });
    await paint(page, "a lake");
    await waitFor(() => expect(byId("keeping").textContent).toContain("There is no room"));
    byId("result");
    IDBObjectStore.prototype.add = add;
  });

  test("says where a browser keeps nothing", async () => {
    vi.stubGlobal("indexedDB", undefined);
    const page = await openReady();
    expect(byId("keeping").textContent).toBe("");
    await paint(page, "a lake");
    await waitFor(() => expect(byId("keeping").textContent).toContain("keeps nothing"));
  });
});

describe("a PNG with settings in it", () => {
  const drop = async (text: string, name = "castle.png") => {
    const file = new File([withText(onePixel, "parameters", text)], name, { type: "image/png" });
    const event = new Event("drop", { cancelable: true });
    Object.assign(event, { dataTransfer: { types: ["Files"], files: [file] } });
    await act(async () => dispatchEvent(event));
  };

  test("sets them, and what cannot be had is told", async () => {
    await openReady();
    await drop(
      "a castle <lora:gothic:0.6> <lora:nobody:1>\nNegative prompt: fog\n" +
        "Steps: 11, Sampler: DPM fast, CFG scale: 3, Seed: 99, Size: 128x128",
    );
    await waitFor(() => expect(byId("note").textContent).toContain("castle.png"));
    expect(byId("note").textContent).toContain("Not styles of this page: nobody.");
    expect(byId("note").textContent).toContain("“DPM fast”");
    expect(byId("prompt")).toHaveProperty("value", "a castle");
    expect(byId("seed")).toHaveProperty("value", "99");
    expect(byId("steps")).toHaveProperty("value", "11");
    expect(byId("style-gothic").getAttribute("aria-pressed")).toBe("true");
    expect(byId("style-miyazaki").getAttribute("aria-pressed")).toBe("false");
  });

  test("is what the page itself writes", async () => {
    const page = await openReady();
    const blobs: Blob[] = [];
    const url = URL.createObjectURL;
    vi.spyOn(URL, "createObjectURL").mockImplementation((blob) => {
      if (blob instanceof Blob && blob.type === "image/png") blobs.push(blob);
      return url.call(URL, blob as Blob);
    });
    await paint(page, "一座城堡", 5);
    const bytes = new Uint8Array(await (blobs[0] as Blob).arrayBuffer());
    const text = await readText(bytes, "parameters");
    expect(text).toContain(
      "miyazaki style, 一座城堡 <lora:miyazaki:0.8>\nSteps: 25, Sampler: DDIM",
    );
    expect(text).toContain("Seed: 5");
    await page.user.clear(byId("prompt"));
    await drop(text as string);
    await waitFor(() => expect(byId("prompt")).toHaveProperty("value", "一座城堡"));
  });
});

describe("a grid", () => {
  test("paints its cells one after another, can be cancelled, and a cell becomes a picture", async () => {
    const page = await openReady();
    const { user, fake } = page;
    await user.click(byId("grid"));
    await user.selectOptions(byId("grid-x"), "strength");
    await user.selectOptions(byId("grid-x-count"), "2");
    await user.selectOptions(byId("grid-y"), "seed");
    await user.selectOptions(byId("grid-y-count"), "2");
    await user.click(byId("grid-start"));
    for (const count of [1, 2, 3]) await finish(page, count);
    await waitFor(() => expect(byId("grid-progress").textContent).toBe("3 of 4 painted"));
    const told = fake.asked.map(({ request }) => [request.styles[0]?.strength, request.seed]);
    expect(told.slice(0, 3)).toEqual([
      [0, 1],
      [1.2, 1],
      [0, 2],
    ]);
    await user.click(byId("grid-cancel"));
    await waitFor(() => expect(byId("grid-new")).toBeDefined());
    expect(all("grid-cell")).toHaveLength(3);
    expect(byId("grid-save")).toHaveProperty("disabled", false);
    await user.click(screen.getByRole("button", { name: /Strength 1.2, Seed 1$/ }));
    await waitFor(() => expect(screen.queryByTestId("grid-dialog")).toBeNull());
    expect(byId("download").getAttribute("download")).toBe("brushlet-miyazaki-1.png");
    await user.click(byId("grid")); // it is still there
    expect(all("grid-cell")).toHaveLength(3);
  });

  test("of styles is chosen by their pictures", async () => {
    const page = await openReady();
    await page.user.click(byId("grid"));
    await page.user.selectOptions(byId("grid-x"), "style");
    const axis = within(byId("grid-dialog"));
    await page.user.click(axis.getByRole("button", { name: "Cyberpunk" }));
    expect(axis.getByText("2 pictures")).toBeDefined();
    await page.user.click(byId("grid-start"));
    for (const count of [1, 2]) await finish(page, count);
    const names = page.fake.asked.map(({ request }) => request.styles.map(({ name }) => name));
    expect(names).toEqual([["miyazaki"], ["gothic"]]);
    await screen.findByText(/All 2 are painted/);
  });
});

test("this device is measured: ms per step, distance from PyTorch, versions", async () => {
  const page = await openReady();
  await page.user.click(byId("device"));
  await page.user.click(byId("measure"));
  await waitFor(() => expect(page.fake.asked).toHaveLength(1));
  const { request, hooks } = page.fake.asked[0] as Fake["asked"][number];
  for (const [step, milliseconds] of [500, 60, 80, 70].entries()) {
    hooks.onStep?.({ step: step + 1, steps: request.steps, milliseconds });
  }
  await finish(page, 1);
  const report = await screen.findByTestId("device-report");
  expect(byId("ms-per-step").textContent).toBe("70 ms a step"); // the first one warms up
  expect(report.textContent).toContain("WASM · fp32 · 2 threads");
  expect(report.textContent).toContain("1.1e-6 from PyTorch");
  expect(report.textContent).toContain("onnxruntime-web 1.30.0");
  const write = vi.spyOn(navigator.clipboard, "writeText").mockResolvedValue();
  await page.user.click(byId("copy-report"));
  const told = JSON.parse(write.mock.calls[0]?.[0] ?? "");
  expect(told).toMatchObject({ model: "scenes", measured: [{ stepMilliseconds: 70 }] });
});

describe("the storage panel", () => {
  const overview: Kept = {
    bundles: [
      {
        name: "scenes",
        manifestUrl: "http://brushlet.test/bundle/manifest.json",
        baseHash: "a".repeat(64),
        kind: "opfs",
        bytes: 25_000_000,
        sharedBytes: 0,
        openedAt: 1,
        styles: [{ name: "gothic", title: "Gothic", bytes: 1_200_000 }],
      },
    ],
    bytes: 25_000_000,
    usage: 30_000_000,
    quota: 300_000_000,
    persisted: true,
    own: [
      {
        key: "k1",
        base_hash: "b".repeat(64),
        base_name: "another",
        added: 1,
        style: style("ink", { pack: { url: "ink", bytes: 900_000, sha256: "" } }),
      },
    ],
  };
  const gallery = { entries: [] } as unknown as Gallery;
  const local = { names: new Set<string>() } as unknown as LocalStyles;

  test("lists what is kept with its size, and removes it when asked twice", async () => {
    const user = userEvent.setup({ delay: null });
    const done: string[] = [];
    const desk: StorageDesk = {
      list: async () => overview,
      removeBundle: async (url) => void done.push(url),
      removeStyle: async (_, name) => void done.push(name),
      removeOwn: async (key) => void done.push(key),
    };
    render(<StoragePanel local={local} gallery={gallery} baseHash={undefined} desk={desk} />);
    const panel = await screen.findByTestId("storage-panel");
    expect(panel.textContent).toContain("30 MB of 300 MB used.");
    expect(panel.textContent).toContain("promised to keep it");
    expect(panel.textContent).toContain("25 MB");
    expect(panel.textContent).toContain("1.2 MB");
    expect(panel.textContent).toContain("for another");
    await user.click(byId("remove-own-ink"));
    expect(done).toEqual([]);
    await user.click(byId("remove-own-ink-yes"));
    await user.click(byId("remove-kept-gothic"));
    await user.click(byId("remove-kept-gothic-yes"));
    await user.click(byId("remove-bundle"));
    await user.click(byId("remove-bundle-yes"));
    await waitFor(() => expect(done).toHaveLength(3));
    expect(done).toEqual(["k1", "gothic", overview.bundles[0]?.manifestUrl]);
  });

  test("says why something stays", async () => {
    const user = userEvent.setup({ delay: null });
    const desk: StorageDesk = {
      list: async () => overview,
      removeBundle: async () => {
        throw new Error("A tab is loading these files.");
      },
      removeStyle: async () => {},
      removeOwn: async () => {},
    };
    render(<StoragePanel local={local} gallery={gallery} baseHash={undefined} desk={desk} />);
    await user.click(await screen.findByTestId("remove-bundle"));
    await user.click(byId("remove-bundle-yes"));
    expect((await screen.findByTestId("error")).textContent).toContain("A tab is loading");
  });
});
