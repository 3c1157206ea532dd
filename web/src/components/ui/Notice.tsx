import type { ReactNode } from "react";
import styles from "./Notice.module.css";

/** A state of a whole page or section in words: nothing here, not found, went wrong. */
export function Notice({ title, tone = "plain", children }: { title: string; tone?: "plain" | "error"; children?: ReactNode }) {
  return (
    <div className={styles.notice} data-tone={tone} role={tone === "error" ? "alert" : undefined}>
      <h2 className={styles.title}>{title}</h2>
      {children === undefined ? null : <div className={styles.text}>{children}</div>}
    </div>
  );
}
