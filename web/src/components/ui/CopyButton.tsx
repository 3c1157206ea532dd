"use client";
import { useEffect, useState } from "react";
import styles from "./CopyButton.module.css";

const SHOWN_MILLIS = 2_000;

export function CopyButton({ text }: { text: string }) {
  const [copied, setCopied] = useState(false);
  useEffect(() => {
    if (!copied) return;
    const timer = window.setTimeout(() => {
      setCopied(false);
    }, SHOWN_MILLIS);
    return () => {
      window.clearTimeout(timer);
    };
  }, [copied]);
  const copy = async () => {
    // Browsers offer the clipboard to secure pages only; the text can still be selected.
    if (!window.isSecureContext) return;
    await navigator.clipboard.writeText(text);
    setCopied(true);
  };
  return (
    <button type="button" className={styles.button} onClick={() => void copy()} aria-live="polite">
      {copied ? "Copied" : "Copy"}
    </button>
  );
}
