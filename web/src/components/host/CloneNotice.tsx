"use client";
import type { HostJson } from "@/gen/gohub/v1/query_pb";
import { clonedAt } from "@/lib/fleet";
import { formatAgo } from "@/lib/format";
import { useNow } from "@/lib/useNow";
import styles from "./CloneNotice.module.css";

/** Says that two machines send as this host, and what to do; nothing where that is not so, or over. */
export function CloneNotice({ host }: { host: HostJson }) {
  const now = useNow();
  const seen = clonedAt(host, now);
  if (seen === undefined) return null;
  return (
    <p className={styles.notice}>
      {/* The title alone is read out: the rest changes every second. */}
      <strong className={styles.title} role="alert">
        Two machines send as this host
      </strong>
      One is a copy of the other, and what is shown is now of this one, now of that; seen {formatAgo(now - seen)}. Stop the agent on the copy, delete its
      state directory, and start it.
    </p>
  );
}
