"use client";
import { Icon } from "@/components/ui/Icon";
import { StatusMark } from "@/components/ui/StatusMark";
import type { FleetCounts, StatusFilter } from "@/lib/fleet";
import { groupThousands } from "@/lib/format";
import styles from "./StatusTabs.module.css";

const tabs: { value: StatusFilter; label: string }[] = [
  { value: "all", label: "Hosts" },
  { value: "up", label: "Up" },
  { value: "down", label: "Down" },
  { value: "firing", label: "Firing" },
];

/** The counts of the fleet, each of which is a filter. */
export function StatusTabs({
  counts,
  value,
  onChange,
}: {
  counts: FleetCounts;
  value: StatusFilter;
  onChange: (value: StatusFilter) => void;
}) {
  return (
    <div className={styles.tabs} role="group" aria-label="Filter by status">
      {tabs.map((tab) => (
        <button
          key={tab.value}
          type="button"
          className={styles.tab}
          data-kind={tab.value}
          data-some={counts[tab.value] > 0}
          aria-pressed={tab.value === value}
          onClick={() => {
            onChange(tab.value === value ? "all" : tab.value);
          }}
        >
          {tab.value === "up" || tab.value === "down" ? <StatusMark status={tab.value} /> : null}
          {tab.value === "firing" ? <Icon name="bell" size={15} /> : null}
          <strong className={styles.count}>{groupThousands(counts[tab.value])}</strong>
          <span className={styles.label}>{tab.label}</span>
        </button>
      ))}
    </div>
  );
}
