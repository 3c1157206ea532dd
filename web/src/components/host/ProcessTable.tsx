"use client";
import { useState } from "react";
import { Panel } from "@/components/ui/Panel";
import { Icon } from "@/components/ui/Icon";
import type { HostJson } from "@/gen/gohub/v1/query_pb";
import { formatBytes, formatPercent } from "@/lib/format";
import { instancesOf, instanceValue, label } from "@/lib/instances";
import styles from "./ProcessTable.module.css";

const columns = [
  { metric: "process_cpu_percent", label: "CPU" },
  { metric: "process_resident_bytes", label: "Memory" },
] as const;

type Order = (typeof columns)[number]["metric"];

/** The processes that use most, as the agent listed them last. */
export function ProcessTable({ host }: { host: HostJson }) {
  const [order, setOrder] = useState<Order>("process_cpu_percent");
  const processes = instancesOf(host, "process").sort((a, b) => (instanceValue(b, order) ?? -1) - (instanceValue(a, order) ?? -1));
  if (processes.length === 0) return null;
  return (
    <Panel
      title="Top processes"
      count={processes.length}
      note="Listed every 30 seconds unless the agent is set otherwise. CPU is the average since the list before, in percent of one core."
    >
      <table className={styles.table}>
        <thead>
          <tr>
            <th scope="col">Process</th>
            <th scope="col" className={styles.user}>
              User
            </th>
            <th scope="col" className={styles.number}>
              PID
            </th>
            {columns.map(({ metric, label: name }) => (
              <th key={metric} scope="col" className={styles.number} aria-sort={metric === order ? "descending" : undefined}>
                <button
                  type="button"
                  className={styles.sort}
                  onClick={() => {
                    setOrder(metric);
                  }}
                >
                  {metric === order ? <Icon name="down" size={12} /> : null}
                  {name}
                </button>
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {processes.map((process) => (
            <tr key={label(process, "pid")}>
              <td className={styles.name} title={label(process, "name")}>
                {label(process, "name")}
              </td>
              <td className={styles.user}>{label(process, "username")}</td>
              <td className={styles.number}>{label(process, "pid")}</td>
              <td className={styles.number}>{formatPercent(instanceValue(process, "process_cpu_percent"))}</td>
              <td className={styles.number}>{formatBytes(instanceValue(process, "process_resident_bytes"))}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </Panel>
  );
}
