"use client";
import { useLiveState } from "@/live/useLiveState";
import styles from "./LivePill.module.css";

const words = { live: "Live", connecting: "Connecting", stale: "Reconnecting" } as const;

/** Says whether the values on the page are of now. */
export function LivePill() {
  const { state } = useLiveState();
  return (
    <span className={styles.pill} data-testid="live-state" data-state={state} role="status">
      <span className={styles.mark} aria-hidden="true" />
      {words[state]}
    </span>
  );
}
