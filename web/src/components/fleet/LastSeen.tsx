"use client";
import type { StatusKind } from "@/components/ui/StatusMark";
import { formatAgo, formatDateTime } from "@/lib/format";
import { useNow } from "@/lib/useNow";
import styles from "./HostRow.module.css";

/** Counts by itself, so that the rest of the row need not render every second. */
export function LastSeen({ time, status }: { time: number | undefined; status: StatusKind }) {
  const now = useNow();
  if (time === undefined) return <span className={styles.ago}>never</span>;
  return (
    <time className={styles.ago} dateTime={new Date(time * 1000).toISOString()} title={formatDateTime(time)}>
      {status === "down" ? <span className={styles.downWord}>Down </span> : null}
      {status === "late" ? <span className={styles.lateWord}>Late </span> : null}
      {formatAgo(now - time)}
    </time>
  );
}
