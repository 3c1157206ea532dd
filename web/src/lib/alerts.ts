// Sorting and comparing alerts.
import type { AlertJson, AlertStateJson } from "@/gen/gohub/v1/alert_pb";
import { orZero, toUnixSeconds } from "@/lib/json";

export function isFiring(alert: AlertJson): boolean {
  return alert.state === "ALERT_STATE_FIRING";
}

export function withState(alerts: AlertJson[], state: AlertStateJson): AlertJson[] {
  return alerts.filter((alert) => alert.state === state).sort((a, b) => sinceOf(b) - sinceOf(a));
}

/** When the alert came into its present state, Unix seconds. */
export function sinceOf(alert: AlertJson): number {
  switch (alert.state) {
    case "ALERT_STATE_FIRING":
      return toUnixSeconds(alert.firedAt) ?? toUnixSeconds(alert.activeSince) ?? 0;
    case "ALERT_STATE_RESOLVED":
      return toUnixSeconds(alert.resolvedAt) ?? 0;
    default:
      return toUnixSeconds(alert.activeSince) ?? 0;
  }
}

export function firingByHost(alerts: AlertJson[]): Map<number, number> {
  const counts = new Map<number, number>();
  for (const alert of alerts) {
    if (!isFiring(alert)) continue;
    const id = orZero(alert.hostId);
    counts.set(id, (counts.get(id) ?? 0) + 1);
  }
  return counts;
}

export type AlertChange = { kind: "fired" | "resolved"; alert: AlertJson };

/** What began to fire and what was resolved between two lists. An alert that is gone from the list was resolved. */
export function alertChanges(before: AlertJson[], after: AlertJson[]): AlertChange[] {
  const firedBefore = new Map(before.filter(isFiring).map((alert) => [alert.id, alert]));
  const now = new Map(after.map((alert) => [alert.id, alert]));
  const changes: AlertChange[] = [];
  for (const alert of after) {
    if (isFiring(alert) && !firedBefore.has(alert.id)) changes.push({ kind: "fired", alert });
  }
  for (const [id, alert] of firedBefore) {
    const present = now.get(id);
    if (!present || !isFiring(present)) changes.push({ kind: "resolved", alert: present ?? alert });
  }
  return changes;
}
