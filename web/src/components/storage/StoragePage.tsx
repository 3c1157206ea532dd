"use client";
import type { ReactNode } from "react";
import { messageOf } from "@/api/client";
import { RelationTable } from "@/components/storage/RelationTable";
import { Meter } from "@/components/ui/Meter";
import { Notice } from "@/components/ui/Notice";
import { Panel } from "@/components/ui/Panel";
import type { GetStorageUsageResponseJson } from "@/gen/gohub/v1/query_pb";
import { formatBytes, formatDateTime } from "@/lib/format";
import { orZero } from "@/lib/json";
import { useServerInfo } from "@/queries/useServerInfo";
import { useStorageUsage } from "@/queries/useStorageUsage";
import styles from "./StoragePage.module.css";

function Figure({ label, value, children }: { label: string; value: string; children?: ReactNode }) {
  return (
    <div className={styles.figure}>
      <dt className={styles.label}>{label}</dt>
      <dd className={styles.value}>{value}</dd>
      {children ? <dd className={styles.note}>{children}</dd> : null}
    </div>
  );
}

function Disk({ usage }: { usage: GetStorageUsageResponseJson }) {
  const size = orZero(usage.diskSizeBytes);
  if (size === 0) return null;
  const free = orZero(usage.diskFreeBytes);
  return (
    <Figure label="Free on its disk" value={formatBytes(free)}>
      <Meter percent={(1 - free / size) * 100} />
      of {formatBytes(size)};{" "}
      {usage.diskFullAt ? `full about ${formatDateTime(Date.parse(usage.diskFullAt) / 1000).slice(0, 10)} if it goes on so` : "not full within ten years"}
    </Figure>
  );
}

function Figures({ usage }: { usage: GetStorageUsageResponseJson }) {
  const growth = orZero(usage.growthBytesPerDay);
  return (
    <dl className={styles.figures}>
      <Figure label="The database takes" value={formatBytes(orZero(usage.totalBytes))} />
      <Disk usage={usage} />
      <Figure label="Growth a day" value={growth > 0 ? formatBytes(growth) : "not known yet"}>
        {growth > 0 ? "before retention takes anything away" : "It takes an hour of samples."}
      </Figure>
      {growth > 0
        ? (usage.forecast ?? []).map((one) => (
            <Figure key={one.days} label={`In ${orZero(one.days)} days`} value={formatBytes(orZero(one.totalBytes))} />
          ))
        : null}
    </dl>
  );
}

/** What the database takes on disk, and what it will. */
export function StoragePage() {
  const usage = useStorageUsage();
  const info = useServerInfo();
  return (
    <div className={styles.page}>
      <h1>Storage</h1>
      {usage.error && !usage.data ? (
        <Notice title="What the database takes can not be read" tone="error">
          {messageOf(usage.error)}
        </Notice>
      ) : null}
      {usage.isPending ? <Notice title="Looking…">With much data this takes some seconds.</Notice> : null}
      {usage.data ? (
        <>
          <Panel title={info.data ? `${info.data.storageDriver === "sqlite" ? "SQLite" : "TimescaleDB"} ${info.data.storageVersion ?? ""}` : "Database"}>
            <Figures usage={usage.data} />
          </Panel>
          <RelationTable relations={usage.data.relations ?? []} />
        </>
      ) : null}
    </div>
  );
}
