import { pointInWords } from "@/lib/source";
import styles from "./HostCharts.module.css";

/** How wide the charts' points are and where they were read, small above them. */
export function SourceNote({ width, source, notes }: { width: number; source: string; notes: string[] }) {
  const text = pointInWords(width, source);
  if (text === "") return null;
  return (
    <p className={styles.source} data-testid="source" data-source={source}>
      {[text, ...notes.map((note) => `${note}.`)].join(" ")}
    </p>
  );
}
