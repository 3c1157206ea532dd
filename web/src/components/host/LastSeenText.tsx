"use client";
import { formatAgo, formatDateTime } from "@/lib/format";
import { useNow } from "@/lib/useNow";
import styles from "./HostHeader.module.css";

export function LastSeenText({ time }: { time: number | undefined }) {
  const now = useNow();
  if (time === undefined) return <span className={styles.seen}>no sample yet</span>;
  return (
    <time className={styles.seen} dateTime={new Date(time * 1000).toISOString()} title={formatDateTime(time)}>
      last sample {formatAgo(now - time)}
    </time>
  );
}
