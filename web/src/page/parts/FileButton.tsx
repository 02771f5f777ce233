import { type ReactNode, useRef } from "react";

/** A button that lets files be chosen; it takes the focus, which a hidden input cannot. */
export function FileButton({
  accept,
  testId,
  className = "quiet",
  disabled,
  multiple = false,
  onFiles,
  children,
}: {
  /** As `<input accept>` has it. */
  accept: string;
  testId: string;
  className?: string;
  disabled?: boolean;
  /** Whether several may be chosen at once. */
  multiple?: boolean;
  onFiles: (files: readonly File[]) => void;
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
        multiple={multiple}
        data-testid={`${testId}-file`}
        onChange={({ target }) => {
          const files = [...(target.files ?? [])];
          target.value = ""; // the same files can be chosen again
          if (files.length > 0) onFiles(files);
        }}
      />
    </>
  );
}
