"use client";
import { AlertList } from "@/components/alerts/AlertList";
import { RuleTable } from "@/components/alerts/RuleTable";
import { Notice } from "@/components/ui/Notice";
import { messageOf } from "@/api/client";
import { withState } from "@/lib/alerts";
import { useAlerts } from "@/queries/useAlerts";
import styles from "./AlertsPage.module.css";

export function AlertsPage() {
  const alerts = useAlerts();
  const all = alerts.data ?? [];
  return (
    <div className={styles.page}>
      <h1>Alerts</h1>
      {alerts.error && !alerts.data ? (
        <Notice title="The alerts can not be read" tone="error">
          {messageOf(alerts.error)}
        </Notice>
      ) : (
        <>
          <AlertList title="Firing" alerts={withState(all, "ALERT_STATE_FIRING")} none={alerts.isPending ? "Loading…" : "Nothing fires."} />
          <AlertList title="Pending" alerts={withState(all, "ALERT_STATE_PENDING")} />
          <AlertList title="Recently resolved" alerts={withState(all, "ALERT_STATE_RESOLVED")} />
        </>
      )}
      <RuleTable />
    </div>
  );
}
