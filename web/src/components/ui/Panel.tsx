import { useId, type ReactNode } from "react";
import styles from "./Panel.module.css";

/** A titled surface. The note is a sentence below, on how to read it. */
export function Panel({ title, count, note, children }: { title: string; count?: number; note?: string; children: ReactNode }) {
  const id = useId();
  return (
    <section className={styles.panel} aria-labelledby={id}>
      <h2 id={id} className={styles.title}>
        {title}
        {count === undefined ? null : <span className={styles.count}>{count}</span>}
      </h2>
      {children}
      {note === undefined ? null : <p className={styles.note}>{note}</p>}
    </section>
  );
}
