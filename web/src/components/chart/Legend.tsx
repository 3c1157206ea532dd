import type { Ref } from "react";
import type { Line } from "@/lib/chart";
import styles from "./Chart.module.css";

/** Names and values of the lines. The chart writes the values in as the pointer moves. */
export function Legend({ ref, lines, heat }: { ref: Ref<HTMLUListElement>; lines: Line[]; heat: boolean }) {
  return (
    <ul ref={ref} className={heat ? styles.legendHeat : styles.legend}>
      {lines.map((line, index) => (
        <li key={`${line.label}${line.below ? "-" : "+"}`} className={styles.entry}>
          {heat ? null : (
            <span className={styles.key} data-dashed={line.dashed ?? false} style={{ color: `var(--series-${line.colour})` }} aria-hidden="true" />
          )}
          <span className={styles.label}>{line.label}</span>
          <span className={styles.value} data-line={index} />
        </li>
      ))}
    </ul>
  );
}
