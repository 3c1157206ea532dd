"use client";
import Link from "next/link";
import { SeverityMark } from "@/components/alerts/SeverityMark";
import { Icon } from "@/components/ui/Icon";
import type { AlertJson, AlertStateJson } from "@/gen/gohub/v1/alert_pb";
import { sinceOf } from "@/lib/alerts";
import { formatAgo, formatDateTime, formatterOf } from "@/lib/format";
import { orZero } from "@/lib/json";
import { useNow } from "@/lib/useNow";
import { useCatalogue } from "@/queries/useCatalogue";
import styles from "./AlertsPage.module.css";

const stateNames: Record<AlertStateJson, string> = {
  ALERT_STATE_UNSPECIFIED: "unknown",
  ALERT_STATE_PENDING: "pending",
  ALERT_STATE_FIRING: "firing",
  ALERT_STATE_RESOLVED: "resolved",
};

export function AlertRow({ alert }: { alert: AlertJson }) {
  const state = stateNames[alert.state ?? "ALERT_STATE_UNSPECIFIED"];
  const labels = Object.values(alert.labels ?? {}).join(", ");
  return (
    <li className={styles.row} data-testid="alert-row" data-rule={alert.rule} data-state={state}>
      {state === "resolved" ? (
        <span className={styles.resolved}>
          <Icon name="check" size={18} />
        </span>
      ) : (
        <SeverityMark severity={alert.severity} />
      )}
      <div className={styles.rule}>{alert.rule}</div>
      <div className={styles.host}>
        <Link href={`/host/?id=${orZero(alert.hostId)}`} prefetch={false}>{alert.hostname || `host ${orZero(alert.hostId)}`}</Link>
        {labels === "" ? null : <div className={styles.labels}>{labels}</div>}
      </div>
      <div className={styles.summary}>
        {alert.summary || <Values alert={alert} />}
      </div>
      <Since time={sinceOf(alert)} />
    </li>
  );
}

function Values({ alert }: { alert: AlertJson }) {
  const catalogue = useCatalogue();
  if (!alert.metric) return null;
  const format = formatterOf(catalogue.unitOf(alert.metric));
  return (
    <>
      {alert.metric} is {format(orZero(alert.value))}, the threshold {format(orZero(alert.threshold))}
    </>
  );
}

function Since({ time }: { time: number }) {
  const now = useNow();
  if (time === 0) return <span className={styles.since} />;
  return (
    <time className={styles.since} dateTime={new Date(time * 1000).toISOString()} title={formatDateTime(time)}>
      {formatAgo(now - time)}
    </time>
  );
}
