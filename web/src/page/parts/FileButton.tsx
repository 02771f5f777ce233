import { type ReactNode, useRef } from "react";

/** A button that lets a file be chosen; it takes the focus, which a hidden input cannot. */
export function FileButton({
  accept,
  testId,
  className = "quiet",
  disabled,
  onFile,
  children,
}: {
  /** As `<input accept>` has it. */
  accept: string;
  testId: string;
  className?: string;
  disabled?: boolean;
  onFile: (file: File) => void;
  children: ReactNode;
}) {
  const input = useRef<HTMLInputElement>(null);
  return (
    <>
      <button
        type="button"
        className={className}
        data-testid={testId}
        disabled={disabled}
        onClick={() => input.current?.click()}
      >
        {children}
      </button>
      <input
        ref={input}
        type="file"
        hidden
        accept={accept}
        data-testid={`${testId}-file`}
        onChange={({ target }) => {
          const file = target.files?.[0];
          target.value = ""; // the same file can be chosen again
          if (file) onFile(file);
        }}
      />
    </>
  );
}
