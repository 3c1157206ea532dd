"use client";
import { AlertToast } from "@/components/alerts/AlertToast";
import { useAlertChanges } from "@/components/alerts/useAlertChanges";
import styles from "./AlertToasts.module.css";

/** Tells what began to fire and what was resolved while the page is open. */
export function AlertToasts() {
  const { shown, dismiss } = useAlertChanges();
  return (
    <section className={styles.stack} aria-label="Alert messages">
      {shown.map(({ key, change }) => (
        <AlertToast
          key={key}
          change={change}
          onDismiss={() => {
            dismiss(key);
          }}
        />
      ))}
    </section>
  );
}
