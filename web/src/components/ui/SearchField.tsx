"use client";
import { useEffect, useRef } from "react";
import { Icon } from "@/components/ui/Icon";
import styles from "./SearchField.module.css";

// Long enough not to run for every letter of a fast typist, short enough to feel immediate.
const SETTLE_MILLIS = 120;

/** A text filter. "/" jumps to it, Escape clears it. */
export function SearchField({
  label,
  placeholder,
  value,
  onChange,
}: {
  label: string;
  placeholder: string;
  value: string;
  onChange: (value: string) => void;
}) {
  const field = useRef<HTMLInputElement>(null);
  const timer = useRef<number | undefined>(undefined);

  useEffect(() => {
    const jump = (event: KeyboardEvent) => {
      if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.target instanceof HTMLElement && event.target.closest("input, textarea, select")) return;
      event.preventDefault();
      field.current?.focus();
    };
    document.addEventListener("keydown", jump);
    return () => {
      document.removeEventListener("keydown", jump);
      window.clearTimeout(timer.current);
    };
  }, []);

  const settle = (text: string) => {
    window.clearTimeout(timer.current);
    timer.current = window.setTimeout(() => {
      onChange(text.trim());
    }, SETTLE_MILLIS);
  };

  return (
    <div className={styles.field}>
      <Icon name="search" />
      <input
        ref={field}
        className={styles.input}
        type="search"
        aria-label={label}
        placeholder={placeholder}
        title="Press / to filter"
        defaultValue={value}
        autoComplete="off"
        spellCheck={false}
        onChange={(event) => {
          settle(event.target.value);
        }}
        onKeyDown={(event) => {
          if (event.key !== "Escape") return;
          event.currentTarget.value = "";
          settle("");
        }}
      />
    </div>
  );
}
