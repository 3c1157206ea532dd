"use client";
import Link from "next/link";
import { useEffect, useRef } from "react";
import { SeverityMark } from "@/components/alerts/SeverityMark";
import { Icon } from "@/components/ui/Icon";
import type { AlertChange } from "@/lib/alerts";
import { orZero } from "@/lib/json";
import styles from "./AlertToasts.module.css";

// Bad news stays longer.
const FIRED_MILLIS = 20_000;
const RESOLVED_MILLIS = 8_000;

export function AlertToast({ change, onDismiss }: { change: AlertChange; onDismiss: () => void }) {
  const { kind, alert } = change;
  const dismiss = useRef(onDismiss);
  useEffect(() => {
    dismiss.current = onDismiss;
  });
  useEffect(() => {
    const timer = window.setTimeout(() => { dismiss.current(); }, kind === "fired" ? FIRED_MILLIS : RESOLVED_MILLIS);
    return () => {
      window.clearTimeout(timer);
    };
  }, [kind]);

  return (
    <div className={styles.toast} data-testid="alert-toast" data-kind={kind} role={kind === "fired" ? "alert" : "status"}>
      {kind === "fired" ? (
        <SeverityMark severity={alert.severity} />
      ) : (
        <span className={styles.resolved}>
          <Icon name="check" size={18} />
        </span>
      )}
      <div className={styles.body}>
        <p className={styles.title}>
          {kind === "fired" ? "Firing" : "Resolved"}: {alert.rule}
        </p>
        <p className={styles.text}>
          <Link href={`/host/?id=${orZero(alert.hostId)}`} prefetch={false}>{alert.hostname}</Link>
          {alert.summary ? ` – ${alert.summary}` : null}
        </p>
      </div>
      <button type="button" className={styles.close} aria-label="Dismiss" onClick={onDismiss}>
        <Icon name="close" size={14} />
      </button>
    </div>
  );
}
