import styles from "./Meter.module.css";

// Where an operator starts to care. The number beside the bar says the same without colour.
const WARN_PERCENT = 85;
const CRITICAL_PERCENT = 95;

export type Level = "normal" | "warn" | "critical";

export function levelOf(percent: number): Level {
  if (percent >= CRITICAL_PERCENT) return "critical";
  return percent >= WARN_PERCENT ? "warn" : "normal";
}

/** A bar from 0 to 100 %, decoration for the number beside it. */
export function Meter({ percent }: { percent: number | undefined }) {
  const share = percent === undefined ? 0 : Math.min(100, Math.max(0, percent));
  return (
    <span className={styles.track} aria-hidden="true">
      <span className={styles.fill} data-level={levelOf(share)} style={{ transform: `scaleX(${share / 100})` }} />
    </span>
  );
}
