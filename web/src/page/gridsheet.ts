/** A grid as one picture, with its names drawn beside it. */

import { keyword } from "./infotext";
import { withText } from "./png";

export interface SheetCell {
  column: number;
  row: number;
  png: Uint8Array<ArrayBuffer>;
}

export interface Sheet {
  /** `Seed`, and the name of each column. */
  across: { title: string; names: string[] };
  down: { title: string; names: string[] } | undefined;
  /** The prompt, above it all. */
  title: string;
  cells: readonly SheetCell[];
  /** In pixels, of each cell. */
  width: number;
  height: number;
  /** Infotext of the first cell, as A1111 keeps one with its grids. */
  infotext: string;
}

/** Cells smaller than this are drawn larger, in whole multiples: names have to fit over them. */
const smallest = 160;

const paper = "#fdfdfb";
const ink = "#1d2930";
const soft = "#55626a";

/** @throws Error where the browser has no canvas of this size */
export async function drawSheet(sheet: Sheet): Promise<Blob> {
  const { across, down, cells } = sheet;
  const scale = Math.max(1, Math.ceil(smallest / Math.min(sheet.width, sheet.height)));
  const [width, height] = [sheet.width * scale, sheet.height * scale];
  const text = Math.max(14, Math.round(Math.min(width, height) / 12));
  const gap = Math.round(text / 2);
  const family = "system-ui, 'Noto Sans', 'Noto Sans CJK SC', sans-serif";

  const probe = contextOf(1, 1);
  probe.font = `${text}px ${family}`;
  const widest = Math.max(0, ...(down?.names ?? []).map((name) => probe.measureText(name).width));
  const left = down
    ? Math.ceil(Math.max(widest, probe.measureText(down.title).width)) + 2 * gap
    : gap;
  const top = 4 * text + 2 * gap;
  const columns = across.names.length;
  const rows = down?.names.length ?? 1;
  const all = {
    width: left + columns * (width + gap),
    height: top + rows * (height + gap),
  };
  const context = contextOf(all.width, all.height);
  context.fillStyle = paper;
  context.fillRect(0, 0, all.width, all.height);
  context.textBaseline = "middle";

  const write = (words: string, x: number, y: number, most: number, look: Partial<Look> = {}) => {
    context.font = `${look.weight ?? 400} ${text}px ${family}`;
    context.fillStyle = look.colour ?? ink;
    context.textAlign = look.align ?? "center";
    context.fillText(fitted(context, words, most), x, y);
  };
  write(sheet.title, gap, gap + text / 2, all.width - 2 * gap, { align: "left", weight: 600 });
  write(
    across.title,
    left + (columns * (width + gap) - gap) / 2,
    gap + 2 * text,
    all.width - left,
    {
      colour: soft,
    },
  );
  for (const [column, name] of across.names.entries()) {
    write(name, left + column * (width + gap) + width / 2, gap + 3.5 * text, width);
  }
  if (down) {
    write(down.title, left - gap, gap + 3.5 * text, left, { align: "right", colour: soft });
    for (const [row, name] of down.names.entries()) {
      write(name, left - gap, top + row * (height + gap) + height / 2, left, { align: "right" });
    }
  }
  context.imageSmoothingEnabled = scale === 1;
  for (const { column, row, png } of cells) {
    const bitmap = await createImageBitmap(new Blob([png], { type: "image/png" }));
    context.drawImage(
      bitmap,
      left + column * (width + gap),
      top + row * (height + gap),
      width,
      height,
    );
    bitmap.close();
  }
  const blob = await context.canvas.convertToBlob({ type: "image/png" });
  const bytes = withText(new Uint8Array(await blob.arrayBuffer()), keyword, sheet.infotext);
  return new Blob([bytes], { type: "image/png" });
}

interface Look {
  align: CanvasTextAlign;
  weight: number;
  colour: string;
}

function contextOf(width: number, height: number) {
  const context = new OffscreenCanvas(width, height).getContext("2d");
  if (context) return context;
  throw new Error(`This browser has no canvas of ${width} x ${height} pixels.`);
}

/** `words`, with an ellipsis where they are too long. */
function fitted(context: OffscreenCanvasRenderingContext2D, words: string, most: number): string {
  if (context.measureText(words).width <= most) return words;
  let length = words.length;
  while (length > 1 && context.measureText(`${words.slice(0, length)}…`).width > most) length -= 1;
  return `${words.slice(0, length)}…`;
}
