"use client";
import { Panel } from "@/components/ui/Panel";
import { formatDateTime } from "@/lib/format";
import { QUARANTINE_LIMIT, useQuarantine } from "@/queries/useQuarantine";
import styles from "./QuarantinePanel.module.css";

/** The samples of a host that were refused, and why. Without any there is no panel. */
export function QuarantinePanel({ hostId }: { hostId: number }) {
  const { data: samples = [] } = useQuarantine(hostId);
  if (samples.length === 0) return null;
  return (
    <Panel title="Refused samples" count={samples.length}>
      <p className={styles.note}>
        These came from the host and are in no chart.
        {samples.length === QUARANTINE_LIMIT ? ` The newest ${QUARANTINE_LIMIT} are shown.` : null} <code>/api/v1/quarantine</code> lists them with
        their content.
      </p>
      <ul className={styles.list}>
        {samples.map((sample, index) => (
          <li key={`${sample.receivedAt} ${sample.epoch} ${sample.seq} ${index}`}>
            <time className={styles.time} dateTime={sample.receivedAt}>
              {formatDateTime(Date.parse(sample.receivedAt ?? "") / 1000)}
            </time>
            <span className={styles.reason}>{sample.reason}</span>
          </li>
        ))}
      </ul>
    </Panel>
  );
}
