import type { ComponentProps, ReactNode } from "react";

/** A button of the header that opens a sheet: an icon alone where there is little room. */
export function HeaderButton({
  icon,
  label,
  testId,
  ...trigger // what Radix gives the trigger of a dialog
}: { icon: ReactNode; label: string; testId: string } & ComponentProps<"button">) {
  return (
    <button
      {...trigger}
      type="button"
      className="quiet header-button"
      data-testid={testId}
      aria-label={label}
    >
      {icon}
      <span className="wide-only">{label}</span>
    </button>
  );
}
