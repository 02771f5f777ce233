/** Drawn signs; all of them are decoration beside a name. */

import type { ReactNode } from "react";

function Icon({ children, size = 20 }: { children: ReactNode; size?: number }) {
  return (
    <svg
      className="icon"
      width={size}
      height={size}
      viewBox="0 0 24 24"
      fill="none"
      stroke="currentColor"
      strokeWidth="1.75"
      strokeLinecap="round"
      strokeLinejoin="round"
      aria-hidden="true"
    >
      {children}
    </svg>
  );
}

export const DiceIcon = () => (
  <Icon>
    <rect x="4" y="4" width="16" height="16" rx="4" />
    {[
      [9, 9],
      [15, 15],
      [15, 9],
      [9, 15],
    ].map(([x, y]) => (
      <circle key={`${x} ${y}`} cx={x} cy={y} r="0.75" fill="currentColor" />
    ))}
  </Icon>
);

export const DownloadIcon = () => (
  <Icon size={18}>
    <path d="M12 4v11m0 0 4.5-4.5M12 15l-4.5-4.5M5 20h14" />
  </Icon>
);

export const CheckIcon = () => (
  <Icon size={14}>
    <path d="m5 13 4.5 4.5L19 7" strokeWidth="3" />
  </Icon>
);

export const WarningIcon = () => (
  <Icon size={22}>
    <path d="M12 9v4.5m0 3v.1M10.7 4.6 3.2 17.5A1.5 1.5 0 0 0 4.5 20h15a1.5 1.5 0 0 0 1.3-2.5L13.3 4.6a1.5 1.5 0 0 0-2.6 0Z" />
  </Icon>
);

/** One stroke of a brush: the house's sign. */
export const BrushMark = () => (
  <svg className="mark" width="28" height="28" viewBox="0 0 32 32" aria-hidden="true">
    <path
      fill="currentColor"
      d="M27.6 4.1c1 .9.5 2.500-.2 3.600C23.800 13 19.400 17.500 14.800 20.700l-3.300-3.200C14.600 12.900 19 8.500 24.200 4.700c1.100-.8 2.500-1.400 3.400-.6ZM10 18.800l3.200 3.100c.5 2.500-.7 4.700-3 5.700-2.400 1-5 .9-7.400-.2 1.500-.7 2.100-1.800 2.500-3.400.6-2.600 2.300-4.700 4.700-5.200Z"
    />
  </svg>
);
