import styles from "./Chart.module.css";

/** What the colours of a heat strip mean. */
export function HeatScale() {
  return (
    <p className={styles.scale}>
      0 %
      <span className={styles.ramp} aria-hidden="true" />
      100 %
    </p>
  );
}
