"use client";
import { useWindowVirtualizer } from "@tanstack/react-virtual";
import { useLayoutEffect, useRef, useState } from "react";
import { HostRow } from "@/components/fleet/HostRow";
import { SortHeader } from "@/components/fleet/SortHeader";
import { useSteadyOrder } from "@/components/fleet/useSteadyOrder";
import { descendingFirst, type FiringByHost, type FleetView, type SortKey } from "@/lib/fleet";
import { useMediaQuery } from "@/lib/useMediaQuery";
import styles from "./FleetTable.module.css";

// Heights of HostRow.module.css: a row of the table, a card with the space below it.
const ROW_PIXELS = 50;
const CARD_PIXELS = 158;
// Rows kept ready above and below, for a fast flick of the wheel.
const OVERSCAN = 8;

const columns: { key: SortKey; label: string; end?: boolean }[] = [
  { key: "name", label: "Host" },
  { key: "cpu", label: "CPU" },
  { key: "memory", label: "Memory" },
  { key: "disk", label: "Fullest disk" },
  { key: "load", label: "Load", end: true },
  { key: "network", label: "Network", end: true },
  { key: "io", label: "Disk I/O", end: true },
  { key: "uptime", label: "Uptime", end: true },
  { key: "seen", label: "Last seen", end: true },
];

/** The list. Only rows on screen exist, and each follows its own host. */
export function FleetTable({
  ids,
  firing,
  view,
  onChange,
}: {
  ids: number[];
  firing: FiringByHost;
  view: FleetView;
  onChange: (next: Partial<FleetView>) => void;
}) {
  const cards = useMediaQuery("(max-width: 900px)");
  const list = useRef<HTMLDivElement>(null);
  const [top, setTop] = useState(0);
  const { order, hold, release } = useSteadyOrder(ids, view);
  const height = cards ? CARD_PIXELS : ROW_PIXELS;

  useLayoutEffect(() => {
    setTop(list.current?.offsetTop ?? 0);
  }, [cards]);

  const rows = useWindowVirtualizer({
    count: order.length,
    estimateSize: () => height,
    overscan: OVERSCAN,
    scrollMargin: top,
    getItemKey: (index) => order[index] ?? index,
  });
  const measure = rows.measure;
  useLayoutEffect(() => {
    measure();
  }, [height, measure]);

  const sortBy = (key: SortKey) => {
    onChange({ sort: key, descending: key === view.sort ? !view.descending : descendingFirst(key) });
  };

  return (
    <div role="table" aria-label="Hosts" aria-rowcount={order.length + 1} className={styles.table}>
      <div role="rowgroup" className={styles.head}>
        <div role="row" aria-rowindex={1} className={styles.headRow}>
          {columns.map(({ key, label, end }) => (
            <SortHeader
              key={key}
              label={label}
              end={end ?? false}
              sorted={key === view.sort ? (view.descending ? "descending" : "ascending") : "none"}
              onSort={() => {
                sortBy(key);
              }}
            />
          ))}
        </div>
      </div>
      <div
        ref={list}
        role="rowgroup"
        className={styles.body}
        style={{ height: rows.getTotalSize() }}
        onPointerEnter={hold}
        onPointerLeave={release}
      >
        {rows.getVirtualItems().map((item) => {
          const id = order[item.index];
          if (id === undefined) return null;
          return (
            <HostRow
              key={id}
              id={id}
              index={item.index}
              offset={item.start - top}
              firing={firing.get(id) ?? 0}
            />
          );
        })}
      </div>
    </div>
  );
}
