import { Panel } from "@/components/ui/Panel";
import type { RelationUsageJson } from "@/gen/gohub/v1/query_pb";
import { formatBytes, formatDateTime, formatDuration } from "@/lib/format";
import { orZero } from "@/lib/json";
import styles from "./StoragePage.module.css";

const resolutions: Record<string, string> = { raw: "samples", "1m": "minutes", "1h": "hours", "1d": "days" };

function time(text: string): string {
  return formatDateTime(Date.parse(text) / 1000).slice(0, 16);
}

/** What each table of samples and rollups takes, the largest first. */
export function RelationTable({ relations }: { relations: readonly RelationUsageJson[] }) {
  const filled = relations.filter((one) => one.oldest);
  const most = Math.max(1, ...filled.map((one) => orZero(one.bytes)));
  const empty = relations.length - filled.length;
  return (
    <Panel title="Samples and rollups" count={filled.length}>
      <div className={styles.scroll}>
        <table className={styles.table}>
          <thead>
            <tr>
              <th scope="col">Of</th>
              <th scope="col" className={styles.number}>
                Bytes
              </th>
              <th scope="col" className={styles.wide}>
                <span className={styles.hidden}>Share of the largest</span>
              </th>
              <th scope="col" className={styles.number}>
                A day
              </th>
              <th scope="col">Since about</th>
              <th scope="col">Kept</th>
            </tr>
          </thead>
          <tbody>
            {filled.map((one) => (
              <tr key={`${one.family} ${one.resolution}`}>
                <th scope="row">
                  {one.family} <span className={styles.resolution}>{resolutions[one.resolution ?? ""] ?? one.resolution}</span>
                </th>
                <td className={styles.number}>{formatBytes(orZero(one.bytes))}</td>
                <td className={styles.wide}>
                  <span className={styles.bar} style={{ inlineSize: `${(orZero(one.bytes) / most) * 100}%` }} />
                </td>
                <td className={styles.number}>{orZero(one.growthBytesPerDay) > 0 ? formatBytes(orZero(one.growthBytesPerDay)) : "–"}</td>
                <td className={styles.when}>{time(one.oldest ?? "")}</td>
                <td className={styles.when}>{orZero(one.retentionSeconds) > 0 ? formatDuration(orZero(one.retentionSeconds)) : "for ever"}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {empty > 0 ? <p className={styles.rest}>{empty} more have nothing in them yet.</p> : null}
    </Panel>
  );
}
