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

export const CloseIcon = () => (
  <Icon size={14}>
    <path d="m6 6 12 12M18 6 6 18" strokeWidth="2.5" />
  </Icon>
);

export const PlusIcon = () => (
  <Icon size={22}>
    <path d="M12 5v14M5 12h14" />
  </Icon>
);

export const PictureIcon = () => (
  <Icon size={18}>
    <rect x="3.500" y="4.500" width="17" height="15" rx="2" />
    <path d="m4 17 5-5 4 4 2.500-2.500L20 18" />
    <circle cx="15.500" cy="9" r="1.250" />
  </Icon>
);

export const CompareIcon = () => (
  <Icon size={16}>
    <circle cx="12" cy="12" r="8.500" />
    <path d="M12 3.500a8.500 8.500 0 0 1 0 17Z" fill="currentColor" />
  </Icon>
);

export const MoonIcon = () => (
  <Icon size={18}>
    <path d="M19.500 14.500A8 8 0 0 1 9.500 4.500a8 8 0 1 0 10 10Z" />
  </Icon>
);

export const SunIcon = () => (
  <Icon size={18}>
    <circle cx="12" cy="12" r="4" />
    <path d="M12 3v2m0 14v2M3 12h2m14 0h2M5.600 5.600 7 7m10 10 1.400 1.400M5.600 18.400 7 17m10-10 1.400-1.400" />
  </Icon>
);

export const WarningIcon = () => (
  <Icon size={22}>
    <path d="M12 9v4.5m0 3v.1M10.7 4.6 3.2 17.5A1.5 1.5 0 0 0 4.5 20h15a1.5 1.5 0 0 0 1.3-2.5L13.3 4.6a1.5 1.5 0 0 0-2.6 0Z" />
  </Icon>
);

export const GalleryIcon = () => (
  <Icon size={18}>
    <rect x="3.500" y="3.500" width="7" height="7" rx="1.500" />
    <rect x="13.500" y="3.500" width="7" height="7" rx="1.500" />
    <rect x="3.500" y="13.500" width="7" height="7" rx="1.500" />
    <rect x="13.500" y="13.500" width="7" height="7" rx="1.500" />
  </Icon>
);

export const TrashIcon = () => (
  <Icon size={16}>
    <path d="M4.500 7h15M9.500 7V4.500h5V7M6.500 7l.8 12.500h9.400L17.500 7M10 11v5m4-5v5" />
  </Icon>
);

export const DeviceIcon = () => (
  <Icon size={18}>
    <rect x="3.500" y="5" width="17" height="11.500" rx="2" />
    <path d="M9 20h6m-3-3.500V20" />
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
