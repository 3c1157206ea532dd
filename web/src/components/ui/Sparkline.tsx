import { TRACE_SECONDS, type Trace } from "@/live/hosts";
import styles from "./Sparkline.module.css";

const WIDTH = 84;
const HEIGHT = 24;
// Half a line's width, so that 0 % and 100 % are not cut.
const PAD = 1;

/** Percentages of the last minutes. The right edge is the newest value; a hole is a hole. */
function linePath(trace: Trace, gapSeconds: number): string {
  const end = trace.times.at(-1) ?? 0;
  let path = "";
  let previous = Number.NEGATIVE_INFINITY;
  trace.times.forEach((time, index) => {
    const x = WIDTH * (1 - (end - time) / TRACE_SECONDS);
    if (x < 0) return;
    const share = Math.min(100, Math.max(0, trace.values[index] ?? 0)) / 100;
    const y = HEIGHT - PAD - share * (HEIGHT - 2 * PAD);
    path += `${time - previous > gapSeconds ? "M" : "L"}${x.toFixed(1)} ${y.toFixed(1)}`;
    previous = time;
  });
  return path;
}

export function Sparkline({ trace, gapSeconds }: { trace: Trace | undefined; gapSeconds: number }) {
  return (
    <svg className={styles.spark} width={WIDTH} height={HEIGHT} viewBox={`0 0 ${WIDTH} ${HEIGHT}`} aria-hidden="true">
      <path className={styles.base} d={`M0 ${HEIGHT - 0.5}H${WIDTH}`} />
      {trace && trace.times.length > 1 ? <path className={styles.line} d={linePath(trace, gapSeconds)} /> : null}
    </svg>
  );
}
