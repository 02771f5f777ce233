import { act, cleanup, configure, render, screen, waitFor, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import i18next from "i18next";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { speak, startI18n } from "../../src/i18n";
import { App } from "../../src/page/App";
import { Trouble } from "../../src/page/problem";
import { fakeManifest, mergedStyle, style } from "../manifest";
import { type Asked, type Fake, fakeServices, report } from "./fake/services";

// A machine that trains a model beside the tests takes its time.
vi.setConfig({ testTimeout: 120_000 });
configure({ asyncUtilTimeout: 30_000 });

beforeEach(async () => {
  localStorage.clear();
  await startI18n();
  await speak("en");
});
afterEach(() => {
  cleanup();
  vi.restoreAllMocks();
});

const byId = (id: string) => screen.getByTestId(id);
const missing = (id: string) => expect(screen.queryByTestId(id)).toBeNull();

async function open(fake: Fake = fakeServices()) {
  const user = userEvent.setup({ delay: null });
  render(<App services={fake} />);
  await screen.findByTestId("prompt");
  await waitFor(() => expect(fake.loads).not.toHaveLength(0));
  return { fake, user };
}

async function openReady(fake?: Fake) {
  const page = await open(fake);
  await act(async () => page.fake.finishLoad());
  await waitFor(() => expect(byId("generate")).toHaveProperty("disabled", false));
  return page;
}

/** The newest denoise, once there are `count`. */
async function asked(fake: Fake, count: number): Promise<Asked> {
  await waitFor(() => expect(fake.asked).toHaveLength(count));
  return fake.asked[count - 1] as Asked;
}

async function paint({ fake, user }: { fake: Fake; user: ReturnType<typeof userEvent.setup> }) {
  const before = fake.asked.length;
  await user.click(byId("generate"));
  const order = await asked(fake, before + 1);
  await act(async () => order.finish());
  return order;
}

describe("opening", () => {
  test("shows the controls before the model has come, and how far it is", async () => {
    const { fake } = await open();
    for (const id of [
      "prompt",
      "negative-prompt",
      "seed",
      "steps",
      "guidance",
      "sampler",
      "language",
    ]) {
      byId(id);
    }
    for (const name of ["miyazaki", "gothic", "cyberpunk"]) byId(`style-${name}`);
    expect(byId("generate")).toHaveProperty("disabled", true);
    await act(async () =>
      fake.loads[0]?.onProgress?.({
        stage: "shards",
        file: "weights-0.bin",
        loadedBytes: 12_300_000,
        totalBytes: 24_600_000,
        storedBytes: 0,
      }),
    );
    expect(byId("progress").textContent).toContain("12.3 MB of 24.6 MB");
    const bar = screen.getByRole("progressbar", { name: "Progress" });
    expect(bar.getAttribute("aria-valuenow")).toBe("50");
    await act(async () => fake.finishLoad());
    missing("progress");
    expect(byId("provider").textContent).toBe("WASM · fp32 · 2 threads — 1.1e-6 from PyTorch");
    expect(screen.getByText("No GPU adapter was offered.")).toBeDefined();
  });

  test("says what comes from this device, what is waited for, and what is not kept", async () => {
    const { fake } = await open();
    const bytes = { loadedBytes: 2e6, totalBytes: 2e6, storedBytes: 2e6 };
    const progress = { stage: "shards", file: "weights-0.bin", ...bytes } as const;
    await act(async () => fake.loads[0]?.onProgress?.({ ...progress, storage: "opfs" }));
    expect(byId("progress").textContent).toContain("kept on this device");
    const waiting = { ...progress, storedBytes: 0, waiting: "tab", storage: "memory" } as const;
    await act(async () => fake.loads[0]?.onProgress?.(waiting));
    expect(byId("progress").textContent).toContain("another tab is downloading it");
    expect(byId("progress").textContent).toContain("for this visit only");
    const kept = { kind: "memory", reason: "quota", persisted: false, offline: true } as const;
    await act(async () => fake.finishLoad({ ok: true, value: { report, storage: kept } }));
    expect(byId("storage").textContent).toContain("there is no room for it");
    expect(byId("storage").textContent).toContain("The server does not answer");
  });

  test("says what is damaged and where, and begins anew on Retry", async () => {
    const { fake, user } = await open();
    const problem = {
      code: "damaged",
      message: "weights-0.bin is cut short.",
      where: "weights-0.bin",
    } as const;
    await act(async () => fake.finishLoad({ ok: false, problem }));
    expect(byId("error").textContent).toContain("A model file arrived damaged");
    expect(byId("error").textContent).toContain("weights-0.bin is cut short.");
    await user.click(byId("retry"));
    missing("error");
    await waitFor(() => expect(fake.loads).toHaveLength(2));
    await act(async () => fake.finishLoad());
    expect(byId("generate")).toHaveProperty("disabled", false);
  });

  test("says at once when the server is down", async () => {
    const fake = fakeServices();
    const where = "http://brushlet.test/readyz";
    fake.serverThrows = new Trouble({ code: "server-down", message: "", where });
    render(<App services={fake} />);
    const error = await screen.findByRole("alert");
    expect(error.textContent).toContain("The brushlet server does not answer");
    expect(error.textContent).toContain(where);
    expect(error.textContent).toContain("make serve");
  });
});

test("waits for a server that is getting ready, and says so", async () => {
  const fake = fakeServices();
  let open = () => {};
  fake.server.ready = (_, onWait) => {
    onWait("the bundle is being verified");
    return new Promise((resolve) => {
      open = resolve;
    });
  };
  render(<App services={fake} />);
  const line = await screen.findByText("The server is getting ready");
  expect(line.parentElement?.textContent).toContain("the bundle is being verified");
  missing("error");
  expect(fake.loads).toHaveLength(0);
  await act(async () => open());
  await waitFor(() => expect(fake.loads).toHaveLength(1));
});

test("a style is fetched ahead while it is on", async () => {
  const { fake, user } = await openReady();
  await user.click(byId("style-miyazaki"));
  await user.click(byId("style-gothic"));
  const names = fake.prefetches.map(({ name }) => name);
  expect(names).toEqual(["miyazaki", "gothic"]);
  const over = fake.prefetches.map(({ hooks }) => hooks.signal?.aborted);
  expect(over).toEqual([true, false]);
});

describe("painting", () => {
  test("sends the trigger words, shows steps, a preview and the picture", async () => {
    const page = await openReady();
    const { fake, user } = page;
    expect(screen.getByText("miyazaki style")).toBeDefined();
    await user.click(byId("generate"));
    const { request, hooks, finish } = await asked(fake, 1);
    expect(fake.words).toEqual([
      {
        prompt: "miyazaki style, a castle, clouds, green hills, day",
        negativePrompt: "",
        styles: [],
      },
    ]);
    expect(request).toMatchObject({
      styles: [{ name: "miyazaki", strength: 0.8 }],
      seed: 1,
      steps: 25,
      guidanceScale: 4,
      sampler: "ddim",
      height: 16,
      width: 16,
      preview: true,
    });
    const preview = { rgba: new Uint8ClampedArray(16 * 16 * 4), width: 16, height: 16 };
    await act(async () => hooks.onStep?.({ step: 7, steps: 25, milliseconds: 500, preview }));
    expect(byId("progress").textContent).toContain("Step 7 of 25");
    expect(byId("progress").textContent).toContain("9 sec left");
    byId("preview");
    await act(async () => finish());
    expect(byId("result").getAttribute("src")).toMatch(/^blob:/);
    expect(byId("download").getAttribute("download")).toBe("brushlet-miyazaki-1.png");
    missing("preview");
    missing("cancel");
    expect(screen.getByRole("status").textContent).toBe("The picture is done.");
  });

  test("sends what the controls say", async () => {
    const page = await openReady();
    const { user } = page;
    const write = async (id: string, text: string) => {
      await user.clear(byId(id));
      await user.type(byId(id), text);
    };
    await write("prompt", "a lake");
    await write("negative-prompt", "fog");
    await write("seed", "4294967295");
    await write("guidance", "7.5");
    await user.selectOptions(byId("sampler"), "lcm");
    await write("steps", "4");
    await user.click(byId("style-miyazaki"));
    const { request } = await paint(page);
    expect(page.fake.words).toEqual([{ prompt: "a lake", negativePrompt: "fog", styles: [] }]);
    expect(request).toMatchObject({
      styles: [],
      seed: 4294967295,
      guidanceScale: 7.5,
      sampler: "lcm",
      steps: 4,
    });
  });

  test("an example becomes the prompt at one click", async () => {
    const page = await open();
    const [castle, lighthouse] = screen.getAllByTestId("example");
    expect(castle?.getAttribute("aria-pressed")).toBe("true");
    await page.user.click(lighthouse as HTMLElement);
    expect(byId("prompt")).toHaveProperty("value", "a lighthouse, sea, sunset");
  });

  test("takes no number that cannot be", async () => {
    const page = await openReady();
    await page.user.clear(byId("steps"));
    await page.user.type(byId("steps"), "999");
    expect(byId("steps").getAttribute("aria-invalid")).toBe("true");
    await page.user.tab();
    expect(byId("steps")).toHaveProperty("value", "50");
    await page.user.clear(byId("seed"));
    await page.user.tab();
    expect(byId("seed")).toHaveProperty("value", "1");
  });

  test("does not ask the server for the same words again, nor load the model again", async () => {
    const page = await openReady();
    await paint(page);
    byId("strength-miyazaki").focus();
    await page.user.keyboard("{ArrowRight}");
    const { request } = await paint(page);
    expect(request.styles).toEqual([{ name: "miyazaki", strength: 0.85 }]);
    expect(request.promptEmbeds.data.byteLength).toBeGreaterThan(0);
    expect(page.fake.words).toHaveLength(1);
    expect(page.fake.loads).toHaveLength(1);
  });

  test("asks again when a style reads the words otherwise, with a slider of its own", async () => {
    const ink = style("ink", { models: ["unet", "text_encoder"] });
    const page = await openReady(
      fakeServices(fakeManifest([ink, style("plain", { trigger_words: [] })])),
    );
    await paint(page);
    byId("strength-ink").focus();
    await page.user.keyboard("{ArrowRight}");
    await paint(page);
    byId("strength-ink-words").focus();
    await page.user.keyboard("{ArrowLeft}{ArrowLeft}");
    const { request } = await paint(page);
    expect(request.styles).toEqual([{ name: "ink", strength: 0.85 }]);
    const sent = page.fake.words.map(({ styles }) => styles);
    expect(sent).toEqual([0.8, 0.85, 0.75].map((te) => [{ name: "ink", te }]));
    await page.user.keyboard("{ArrowRight}"); // back to 0.8, which was read before
    await paint(page);
    expect(page.fake.words).toHaveLength(3);
    await page.user.click(byId("style-plain"));
    missing("strength-plain-words");
    await paint(page);
    expect(page.fake.words).toHaveLength(3);
  });

  test("at strength 0 sends no trigger words", async () => {
    const page = await openReady();
    byId("strength-miyazaki").focus();
    await page.user.keyboard("{Home}");
    expect(screen.queryByText("miyazaki style")).toBeNull();
    await paint(page);
    expect(page.fake.words).toEqual([
      { prompt: "a castle, clouds, green hills, day", negativePrompt: "", styles: [] },
    ]);
  });

  test("can be begun from the keyboard, and the newest order wins", async () => {
    const { fake, user } = await openReady();
    await user.click(byId("prompt"));
    await user.keyboard("{Control>}{Enter}{/Control}");
    const first = await asked(fake, 1);
    await user.keyboard(" at dawn{Control>}{Enter}{/Control}");
    const second = await asked(fake, 2);
    expect(first.hooks.signal?.aborted).toBe(true);
    await act(async () => second.finish());
    expect(byId("result").getAttribute("alt")).toMatch(/at dawn$/);
  });

  test("ignores a second click for the same picture", async () => {
    const { fake, user } = await openReady();
    await user.dblClick(byId("generate"));
    await asked(fake, 1);
    expect(fake.asked[0]?.hooks.signal?.aborted).toBe(false);
  });

  test("begins the same picture again after a cancel, though the worker has not let go", async () => {
    const { fake, user } = await openReady();
    fake.deaf = true;
    await user.click(byId("generate"));
    const first = await asked(fake, 1);
    await user.click(byId("cancel"));
    await user.click(byId("generate"));
    const problem = { code: "cancelled", message: "Cancelled." } as const;
    await act(async () => first.finish({ ok: false, problem }));
    const second = await asked(fake, 2);
    await act(async () => second.finish());
    byId("result");
    missing("progress");
  });

  test("says what computed the picture that is shown", async () => {
    const { fake, user } = await openReady();
    await user.click(byId("generate"));
    const order = await asked(fake, 1);
    const latents = { data: new Float32Array(4), shape: [1, 4, 1, 1] };
    const provider = { ...report, provider: "webgpu", compute: "fp16", error: 2e-3 } as const;
    await act(async () =>
      order.finish({ ok: true, value: { latents, milliseconds: 1, provider } }),
    );
    expect(byId("provider").textContent).toBe("WebGPU · fp16 — 2.0e-3 from PyTorch");
  });

  test("says that the GPU was lost and what began the picture again", async () => {
    const { fake, user } = await openReady();
    await user.click(byId("generate"));
    const order = await asked(fake, 1);
    const from = { provider: "webgpu", compute: "fp16", threads: 1 } as const;
    order.hooks.onNotice?.({ kind: "lost", from, to: report, reason: "driver reset" });
    await act(async () => order.finish());
    screen.getByText(
      "The GPU was taken away (driver reset). The picture was begun again on WASM fp32.",
    );
  });

  test("can be cancelled", async () => {
    const { fake, user } = await openReady();
    await user.click(byId("generate"));
    const { hooks } = await asked(fake, 1);
    await user.click(byId("cancel"));
    expect(hooks.signal?.aborted).toBe(true);
    await waitFor(() => missing("progress"));
    missing("error");
    missing("result");
    expect(document.activeElement).toBe(byId("generate"));
    expect(screen.getByRole("status").textContent).toBe("Cancelled.");
  });

  test("says when the server has gone, and paints on Retry", async () => {
    const { fake, user } = await openReady();
    fake.serverThrows = new Trouble({
      code: "server-down",
      message: "",
      where: "http://x/v1/encode",
    });
    await user.click(byId("generate"));
    expect((await screen.findByTestId("error")).textContent).toContain("http://x/v1/encode");
    fake.serverThrows = undefined;
    await user.click(byId("retry"));
    const order = await asked(fake, 1);
    await act(async () => order.finish());
    missing("error");
    byId("result");
  });

  test.each(["internal", "network", "damaged", "manifest", "wrong-base"] as const)(
    "Retry after “%s” opens the bundle as it is now",
    async (code) => {
      const { fake, user } = await openReady();
      await user.click(byId("dice")); // a choice, which outlives the bundle
      await user.click(byId("generate"));
      const order = await asked(fake, 1);
      await act(async () => order.finish({ ok: false, problem: { code, message: "Oh." } }));
      const manifest = fakeManifest([style("miyazaki"), style("ink")]);
      fake.openManifest = async () => ({ manifest, offline: false });
      await user.click(byId("retry"));
      missing("error");
      await waitFor(() => expect(fake.loads).toHaveLength(2));
      await act(async () => fake.finishLoad());
      missing("style-gothic");
      await user.click(byId("style-ink"));
      await user.click(byId("generate"));
      const { request } = await asked(fake, 2);
      expect(request.styles.map(({ name }) => name)).toEqual(["miyazaki", "ink"]);
      expect(fake.words).toHaveLength(2);
    },
  );

  test("shows the worker's own words for a style of another base", async () => {
    const { fake, user } = await openReady();
    await user.click(byId("generate"));
    const order = await asked(fake, 1);
    const message = "Style “gothic” was made for “sd15”; this bundle holds “scenes”.";
    await act(async () =>
      order.finish({ ok: false, problem: { code: "wrong-base", message, where: "gothic" } }),
    );
    expect(byId("error").textContent).toContain(message);
    expect(byId("error").dataset.code).toBe("wrong-base");
  });

  test("keeps earlier pictures, and their settings", async () => {
    const page = await openReady();
    await paint(page);
    await page.user.click(byId("dice"));
    await paint(page);
    const strip = screen.getByRole("navigation", { name: "Earlier pictures" });
    const [, older] = within(strip).getAllByRole("button");
    await page.user.click(older as HTMLElement);
    expect(byId("result").dataset.number).toBe("1");
    await page.user.click(screen.getByRole("button", { name: "Use these settings" }));
    expect(byId("seed")).toHaveProperty("value", "1");
  });
});

describe("live", () => {
  test("paints what the slider came to rest at", async () => {
    const { fake, user } = await openReady();
    await user.click(byId("live"));
    expect(fake.asked).toHaveLength(0);
    byId("strength-miyazaki").focus();
    await user.keyboard("{ArrowLeft}{ArrowLeft}{ArrowLeft}");
    await waitFor(() =>
      expect(fake.asked.at(-1)?.request.styles).toEqual([{ name: "miyazaki", strength: 0.65 }]),
    );
  });

  test("leaves slider and prompt alone while it is off", async () => {
    const page = await openReady();
    byId("strength-miyazaki").focus();
    await page.user.keyboard("{ArrowLeft}");
    await new Promise((resolve) => setTimeout(resolve, 250));
    expect(page.fake.asked).toHaveLength(0);
  });
});

test("a merged style has no slider, but a mark", async () => {
  const merged = mergedStyle("ukiyo", 0.9);
  const { user } = await open(fakeServices(fakeManifest([merged, style("gothic")])));
  screen.getByText("fixed at 0.9");
  missing("strength-ukiyo");
  await user.click(byId("style-gothic"));
  expect(byId("style-ukiyo").getAttribute("aria-pressed")).toBe("false");
  byId("strength-gothic");
});

test("the strength can be written as a number", async () => {
  const { user } = await open();
  await user.clear(byId("strength-value-miyazaki"));
  await user.type(byId("strength-value-miyazaki"), "1.25");
  expect(byId("strength-miyazaki").getAttribute("aria-valuenow")).toBe("1.25");
});

test("speaks Chinese, tells the browser so, and remembers it", async () => {
  const { user } = await open();
  await user.click(byId("language"));
  expect(byId("generate").textContent).toBe("生成");
  expect(document.documentElement.lang).toBe("zh-CN");
  expect(localStorage.getItem("brushlet.language")).toBe("zh");
  await user.click(byId("language"));
  expect(byId("generate").textContent).toBe("Generate");
  expect(i18next.language).toBe("en");
});

test("every control has a name", async () => {
  await openReady();
  const names = {
    textbox: ["Describe the picture", "Leave out"],
    combobox: ["Sampler"],
    slider: ["Strength of Miyazaki"],
    spinbutton: ["Strength of Miyazaki, as a number", "Steps", "Guidance", "Seed"],
    switch: ["Live"],
    group: ["Style", "Settings"],
    region: ["Picture"],
  };
  for (const [role, expected] of Object.entries(names)) {
    for (const name of expected) screen.getByRole(role, { name });
  }
  for (const button of screen.getAllByRole("button")) {
    expect(button.getAttribute("aria-label") ?? button.textContent).not.toBe("");
  }
});
