"use client";
import { useState } from "react";
import { AlertRow } from "@/components/alerts/AlertRow";
import { Icon } from "@/components/ui/Icon";
import { Panel } from "@/components/ui/Panel";
import type { AlertJson } from "@/gen/gohub/v1/alert_pb";
import styles from "./AlertsPage.module.css";

// A failed network makes thousands of alerts at once; no one reads them all.
const PAGE = 100;

/** Alerts of one state. Without `none` an empty list is not shown at all. */
export function AlertList({ title, alerts, none }: { title: string; alerts: AlertJson[]; none?: string }) {
  const [shown, setShown] = useState(PAGE);
  if (alerts.length === 0 && none === undefined) return null;
  return (
    <Panel title={title} count={alerts.length}>
      {alerts.length === 0 ? (
        <p className={styles.none}>
          <span className={styles.resolved}>
            <Icon name="check" />
          </span>
          {none}
        </p>
      ) : (
        <ul>
          {alerts.slice(0, shown).map((alert) => (
            <AlertRow key={alert.id} alert={alert} />
          ))}
        </ul>
      )}
      {alerts.length > shown ? (
        <button
          type="button"
          className={styles.more}
          onClick={() => {
            setShown(shown + PAGE);
          }}
        >
          Show more of the {alerts.length - shown} others
        </button>
      ) : null}
    </Panel>
  );
}
