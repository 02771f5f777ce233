// @vitest-environment node
import "fake-indexeddb/auto";
import { IDBFactory } from "fake-indexeddb";
import { beforeEach, describe, expect, test } from "vitest";
import { found } from "../../src/page/gallery";
import { GalleryStore, type PictureFacts } from "../../src/page/gallerystore";
import { orderFor } from "../../src/page/order";
import { firstSettings, type Settings } from "../../src/page/settings";
import { fakeManifest } from "../manifest";

const manifest = fakeManifest();

function facts(change: Partial<Settings> = {}): PictureFacts {
  const settings = { ...firstSettings(manifest), ...change };
  const order = orderFor(settings, manifest.styles ?? []);
  return { order, settings, milliseconds: 1500, provider: undefined, notices: [] };
}

const bytes = (...values: number[]) => Uint8Array.from(values);

async function open(): Promise<GalleryStore> {
  const store = await GalleryStore.open();
  if (!store) throw new Error("no store");
  return store;
}

beforeEach(() => {
  globalThis.indexedDB = new IDBFactory();
});

describe("the gallery's store", () => {
  test("keeps pictures with what made them, the newest first", async () => {
    const store = await open();
    await store.add(facts({ seed: 1 }), bytes(1), bytes(11));
    await store.add(facts({ seed: 2 }), bytes(2), undefined);
    const again = await open(); // as after a reload
    const [newest, oldest] = await again.list();
    expect([newest?.order.seed, oldest?.order.seed]).toEqual([2, 1]);
    expect(newest?.settings).toEqual(facts({ seed: 2 }).settings);
    expect(await again.png(oldest?.id ?? 0)).toEqual(bytes(1));
    expect(await again.thumb(oldest?.id ?? 0)).toEqual(bytes(11));
    expect(await again.thumb(newest?.id ?? 0)).toEqual(bytes(2)); // small itself
  });

  test("keeps the picture that others began from once, as long as one needs it", async () => {
    const store = await open();
    const image = { id: "ab", name: "hill.png", blob: new Blob(["hill"], { type: "image/png" }) };
    const one = await store.add(facts({ image, seed: 1 }), bytes(1), undefined);
    const two = await store.add(facts({ image, seed: 2 }), bytes(2), undefined);
    expect(one.settings.image).toBeUndefined();
    await store.remove(one);
    const { settings, order } = await store.facts(two);
    expect(settings.image).toMatchObject({ id: "ab", name: "hill.png" });
    expect(await order.image?.text()).toBe("hill");
    const removed = await store.remove(two);
    expect((await store.facts(two)).settings.image).toBeUndefined();
    await store.restore(removed);
    expect(await (await store.facts(two)).settings.image?.blob.text()).toBe("hill");
  });

  test("brings a removed picture back to its place", async () => {
    const store = await open();
    for (const seed of [1, 2, 3]) await store.add(facts({ seed }), bytes(seed), undefined);
    const [, middle] = await store.list();
    if (!middle) throw new Error("no picture");
    const removed = await store.remove(middle);
    expect(await store.png(middle.id)).toBeUndefined();
    await store.restore(removed);
    expect((await store.list()).map(({ order }) => order.seed)).toEqual([3, 2, 1]);
    expect(await store.png(middle.id)).toEqual(bytes(2));
  });

  test("is empty when it is cleared", async () => {
    const store = await open();
    const { id } = await store.add(facts(), bytes(1), bytes(2));
    await store.clear();
    expect(await store.list()).toEqual([]);
    expect(await store.thumb(id)).toBeUndefined();
  });
});

test("search looks at words, styles, samplers and seeds", async () => {
  const store = await open();
  const off = { on: false, strength: 0.8 };
  await store.add(facts({ prompt: "a castle by the sea", seed: 11 }), bytes(1), undefined);
  const gothic = { miyazaki: off, gothic: { on: true, strength: 1 }, cyberpunk: off };
  await store.add(facts({ prompt: "a House", seed: 1100, styles: gothic }), bytes(1), undefined);
  const entries = await store.list();
  const seeds = (search: string) => found(entries, search, manifest).map(({ order }) => order.seed);
  expect(seeds("")).toEqual([1100, 11]);
  expect(seeds("sea castle")).toEqual([11]);
  expect(seeds("house")).toEqual([1100]);
  expect(seeds("GOTHIC")).toEqual([1100]);
  expect(seeds("ddim")).toEqual([1100, 11]);
  expect(seeds("11")).toEqual([11]); // a seed is found whole
  expect(seeds("castle gothic")).toEqual([]);
});
