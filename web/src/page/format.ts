/** Numbers as people read them. */

/** `12.3 MB`; decimal units, as browsers and file managers show downloads. */
export function formatBytes(bytes: number, language: string): string {
  const units = ["byte", "kilobyte", "megabyte", "gigabyte"] as const;
  const power = Math.min(Math.floor(Math.log10(Math.max(bytes, 1)) / 3), units.length - 1);
  return new Intl.NumberFormat(language, {
    style: "unit",
    unit: units[power],
    unitDisplay: "short",
    maximumFractionDigits: power < 2 ? 0 : 1,
  }).format(bytes / 1000 ** power);
}

/** `3 s`, `1 min 20 s`; tenths below ten seconds only when `precise`. */
export function formatSeconds(seconds: number, language: string, precise = false): string {
  const unit = (value: number, name: "second" | "minute", digits = 0) =>
    new Intl.NumberFormat(language, {
      style: "unit",
      unit: name,
      unitDisplay: "short",
      maximumFractionDigits: digits,
    }).format(value);
  if (precise && seconds < 10) return unit(seconds, "second", 1);
  const whole = Math.max(1, Math.ceil(seconds));
  if (whole < 60) return unit(whole, "second");
  const rest = whole % 60;
  const minutes = unit((whole - rest) / 60, "minute");
  return rest ? `${minutes} ${unit(rest, "second")}` : minutes;
}

/** `1.1e-6`. */
export function formatError(error: number): string {
  return error === 0 ? "0" : error.toExponential(1);
}

/** `0.8`, `1`, `0.85`. */
export function formatStrength(strength: number): string {
  return String(Number(strength.toFixed(2)));
}

/** A style's colour in the share bar and on its slider, by its place among the styles. */
export function shareColour(place: number): string {
  return `var(--share-${(place % 5) + 1})`;
}
