import type { Loss } from "@/lib/losses";
import { formatDateTime } from "@/lib/format";
import styles from "./HostCharts.module.css";

// More than these few are told as a number.
const SHOWN = 3;

/** Says in words what the hatched parts of the charts are. */
export function LossNotes({ losses }: { losses: Loss[] }) {
  if (losses.length === 0) return null;
  const others = losses.length - SHOWN;
  return (
    <ul className={styles.losses} aria-label="Lost samples">
      {losses.slice(-SHOWN).map((loss) => (
        <li key={`${loss.from} ${loss.to} ${loss.reason}`}>
          <span className={styles.hatch} aria-hidden="true" />
          {loss.samples > 0 ? `${loss.samples} samples` : "Samples"} from {formatDateTime(loss.from)} to {formatDateTime(loss.to)} were lost{" "}
          {loss.reason}.
        </li>
      ))}
      {others > 0 ? <li>{others} more, hatched in the charts.</li> : null}
    </ul>
  );
}
