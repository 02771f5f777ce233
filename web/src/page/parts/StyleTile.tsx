import { useState } from "react";
import type { Style } from "../../bundle/manifest.gen";

/** A style's thumbnail, or hills in colours of its own where it has none. */
export function StyleTile({ style, bundleUrl }: { style: Style; bundleUrl: string }) {
  const [broken, setBroken] = useState(false);
  if (style.thumbnail && !broken) {
    return (
      <img
        className="tile"
        src={new URL(style.thumbnail.url, bundleUrl).href}
        alt=""
        crossOrigin="anonymous"
        onError={() => setBroken(true)}
      />
    );
  }
  const { sky, sun, hills, x } = sceneOf(style.name);
  return (
    <svg
      className="tile"
      viewBox="0 0 100 100"
      preserveAspectRatio="xMidYMid slice"
      aria-hidden="true"
    >
      <rect width="100" height="100" fill={sky} />
      <circle cx={x} cy="34" r="15" fill={sun} />
      {hills.map(({ path, fill }) => (
        <path key={path} d={path} fill={fill} />
      ))}
    </svg>
  );
}

/** The same hills for the same name, always: FNV-1a decides. */
function sceneOf(name: string) {
  let hash = 0x811c9dc5;
  for (const letter of name) {
    hash = Math.imul(hash ^ letter.charCodeAt(0), 0x01000193) >>> 0;
  }
  const hue = (hash >>> 3) % 360;
  const pick = (shift: number, width: number) => (hash >>> shift) % width;
  const hills = [0, 1, 2].map((layer) => {
    const y = 54 + layer * 14;
    const [left, right] = [y - pick(4 + layer * 3, 16), y - pick(7 + layer * 5, 16)];
    const lightness = 52 - layer * 13;
    return {
      path: `M0 ${y}C25 ${left - 12} 40 ${left + 8} 55 ${y}S80 ${right - 8} 100 ${right}V100H0Z`,
      fill: `hsl(${(hue + 110 + layer * 12) % 360} 32% ${lightness}%)`,
    };
  });
  return {
    sky: `hsl(${hue} 38% 80%)`,
    sun: `hsl(${(hue + 40) % 360} 70% 92%)`,
    hills,
    x: 22 + pick(12, 56),
  };
}
