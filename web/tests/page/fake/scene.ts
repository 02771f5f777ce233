/** A castle in the hills by canvas, so that screenshots show a picture without any model. */

const palettes: Record<string, string[]> = {
  base: ["#bcd7ea", "#e8f1f5", "#9db98f", "#7fa173", "#5f8660", "#8c8f99"],
  miyazaki: ["#5fb4ea", "#d6f1fb", "#9fd35f", "#5fb34a", "#2f8a3f", "#c9b9a0"],
  gothic: ["#39424f", "#7d8894", "#3b4a48", "#2b3838", "#1d2728", "#15181d"],
  cyberpunk: ["#2a1450", "#b03a92", "#3a2a6a", "#281d4e", "#160f33", "#0d0a20"],
};

/** 128x128, as PNG. */
export async function scenePng(style: string): Promise<Blob> {
  const canvas = new OffscreenCanvas(128, 128);
  paint(canvas.getContext("2d") as OffscreenCanvasRenderingContext2D, style);
  return canvas.convertToBlob({ type: "image/png" });
}

/** 16x16, mixed with noise: `progress` 0 is noise alone. */
export function scenePreview(style: string, progress: number) {
  const canvas = new OffscreenCanvas(16, 16);
  const context = canvas.getContext("2d") as OffscreenCanvasRenderingContext2D;
  context.scale(1 / 8, 1 / 8);
  paint(context, style);
  const { data } = context.getImageData(0, 0, 16, 16);
  const rgba = data.map((value, index) =>
    index % 4 === 3 ? 255 : value * progress + Math.random() * 255 * (1 - progress),
  );
  return { rgba, width: 16, height: 16 };
}

function paint(context: OffscreenCanvasRenderingContext2D, style: string): void {
  const [sky, haze, far, near, front, stone] = palettes[style] ?? (palettes.base as string[]);
  const air = context.createLinearGradient(0, 0, 0, 90);
  air.addColorStop(0, sky as string);
  air.addColorStop(1, haze as string);
  context.fillStyle = air;
  context.fillRect(0, 0, 128, 128);
  context.fillStyle = `color-mix(in srgb, white 80%, ${haze})`;
  for (const [x, y, r] of [
    [28, 34, 11],
    [40, 29, 14],
    [54, 35, 10],
    [96, 22, 9],
    [106, 25, 7],
  ]) {
    context.beginPath();
    context.arc(x as number, y as number, r as number, 0, 7);
    context.fill();
  }
  const hill = (y: number, bend: number, colour: string) => {
    context.fillStyle = colour;
    context.beginPath();
    context.moveTo(0, y);
    context.bezierCurveTo(40, y - bend, 80, y + bend, 128, y - bend / 2);
    context.lineTo(128, 128);
    context.lineTo(0, 128);
    context.fill();
  };
  hill(82, 16, far as string);
  context.fillStyle = stone as string;
  for (const [x, y, w] of [
    [62, 52, 30],
    [58, 44, 9],
    [86, 40, 10],
    [72, 36, 11],
  ]) {
    context.fillRect(x as number, y as number, w as number, 88 - (y as number));
    context.beginPath();
    context.moveTo((x as number) - 1, y as number);
    context.lineTo((x as number) + (w as number) / 2, (y as number) - 12);
    context.lineTo((x as number) + (w as number) + 1, y as number);
    if ((w as number) < 20) context.fill();
  }
  hill(94, -14, near as string);
  hill(110, 10, front as string);
}
