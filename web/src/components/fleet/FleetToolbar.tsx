"use client";
import { StatusTabs } from "@/components/fleet/StatusTabs";
import { SearchField } from "@/components/ui/SearchField";
import { sortKeys, descendingFirst, type FleetCounts, type FleetView, type SortKey } from "@/lib/fleet";
import { groupThousands } from "@/lib/format";
import styles from "./FleetToolbar.module.css";

const sortNames: Record<SortKey, string> = {
  name: "Name",
  cpu: "CPU",
  memory: "Memory",
  disk: "Fullest disk",
  load: "Load",
  network: "Network",
  io: "Disk I/O",
  uptime: "Uptime",
  seen: "Last seen",
};

export function FleetToolbar({
  view,
  counts,
  shown,
  onChange,
}: {
  view: FleetView;
  counts: FleetCounts;
  shown: number;
  onChange: (next: Partial<FleetView>) => void;
}) {
  return (
    <div className={styles.bar}>
      <StatusTabs
        counts={counts}
        value={view.status}
        onChange={(status) => {
          onChange({ status });
        }}
      />
      <div className={styles.tools}>
        <p className={styles.shown} role="status">
          {shown === counts.all ? null : `${groupThousands(shown)} of ${groupThousands(counts.all)} shown`}
        </p>
        <SearchField
          label="Filter hosts"
          placeholder={'Name, system or site="ams"'}
          value={view.text}
          onChange={(text) => {
            onChange({ text });
          }}
        />
        <label className={styles.sort}>
          <span className="srOnly">Sort by</span>
          <select
            className={styles.select}
            value={view.sort}
            onChange={(event) => {
              const sort = event.target.value as SortKey;
              onChange({ sort, descending: descendingFirst(sort) });
            }}
          >
            {sortKeys.map((key) => (
              <option key={key} value={key}>
                {sortNames[key]}
              </option>
            ))}
          </select>
        </label>
      </div>
    </div>
  );
}
