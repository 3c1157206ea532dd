"use client";
import { SeverityMark } from "@/components/alerts/SeverityMark";
import { isFiring } from "@/lib/alerts";
import { orZero } from "@/lib/json";
import { useAlerts } from "@/queries/useAlerts";
import styles from "./HostAlerts.module.css";

/** The host's alerts that fire; nothing where none does. */
export function HostAlerts({ hostId }: { hostId: number }) {
  const alerts = useAlerts();
  const firing = (alerts.data ?? []).filter((alert) => isFiring(alert) && orZero(alert.hostId) === hostId);
  if (firing.length === 0) return null;
  return (
    <ul className={styles.list} aria-label="Firing alerts">
      {firing.map((alert) => (
        <li key={alert.id} className={styles.alert} data-severity={alert.severity}>
          <SeverityMark severity={alert.severity} />
          <strong>{alert.rule}</strong>
          <span>{alert.summary}</span>
        </li>
      ))}
    </ul>
  );
}
