"use client";
import { formatClock } from "@/lib/format";
import { useLiveState } from "@/live/useLiveState";
import styles from "./StaleBanner.module.css";

/** Says how old the values are while the live connection is down. */
export function StaleBanner() {
  const { state, heardAt, error } = useLiveState();
  if (error !== null) {
    return (
      <p className={styles.banner} role="status">
        The server refused the live connection: {error}
      </p>
    );
  }
  if (state !== "stale" || heardAt === null) return null;
  return (
    <p className={styles.banner} role="status">
      Reconnecting. Values are from <strong>{formatClock(heardAt / 1000)}</strong>.
    </p>
  );
}
