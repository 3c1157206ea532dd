"use client";
import Link from "next/link";
import { memo } from "react";
import { LastSeen } from "@/components/fleet/LastSeen";
import { useBackfill } from "@/components/fleet/useBackfill";
import { Icon } from "@/components/ui/Icon";
import { Meter } from "@/components/ui/Meter";
import { Sparkline } from "@/components/ui/Sparkline";
import { StatusMark, statusKind } from "@/components/ui/StatusMark";
import { systemName } from "@/lib/facts";
import { hostname, valueOf } from "@/lib/fleet";
import { formatBytesPerSecond, formatDuration, formatLoad, formatPercent } from "@/lib/format";
import { toUnixSeconds } from "@/lib/json";
import { TRACE_STEP_SECONDS } from "@/live/hosts";
import { useLive } from "@/live/LiveProvider";
import { useHost, useTrace } from "@/live/useHost";
import styles from "./HostRow.module.css";

// How many intervals without a value make a hole in the sparkline.
const GAP_INTERVALS = 2.5;

type HostRowProps = {
  id: number;
  index: number;
  /** Pixels from the top of the list. */
  offset: number;
  /** How many of the host's alerts fire. */
  firing: number;
};

export const HostRow = memo(function HostRow({ id, index, offset, firing }: HostRowProps) {
  const { fleet } = useLive();
  const host = useHost(fleet, id);
  const trace = useTrace(fleet, id);
  useBackfill(id);
  if (!host) return null;

  const status = statusKind(host.status);
  const name = hostname(host);
  const cpu = valueOf(host, "cpu_usage_percent");
  const memory = valueOf(host, "memory_used_percent");
  const disk = valueOf(host, "filesystem_fullest_percent");
  const spacing = Math.max(TRACE_STEP_SECONDS, (host.facts?.intervalMillis ?? 0) / 1000);
  // The header is row 1 of the table.
  const rowNumber = index + 2;

  return (
    <div
      role="row"
      aria-rowindex={rowNumber}
      className={styles.row}
      data-testid="host-row"
      data-hostname={name}
      data-status={status}
      style={{ transform: `translateY(${offset}px)` }}
    >
      <div role="cell" className={styles.host}>
        <StatusMark status={status} label={status} />
        <div className={styles.names}>
          <Link href={`/host/?id=${id}`} className={styles.name} prefetch={false} title={name}>
            {name}
          </Link>
          <span className={styles.system}>{systemName(host.facts)}</span>
        </div>
        {firing > 0 ? (
          <span className={styles.firing} title={`${firing} firing`}>
            <Icon name="bell" size={13} />
            {firing}
            <span className="srOnly"> firing</span>
          </span>
        ) : null}
      </div>
      <div role="cell" className={styles.cpu}>
        <span className={styles.cellLabel}>CPU</span>
        <Sparkline trace={trace} gapSeconds={spacing * GAP_INTERVALS} />
        <span className={styles.gauge}>
          <span data-testid="host-cpu">{formatPercent(cpu)}</span>
          <Meter percent={cpu} />
        </span>
      </div>
      <div role="cell" className={styles.share}>
        <span className={styles.cellLabel}>Memory</span>
        <span className={styles.gauge}>
          {formatPercent(memory)}
          <Meter percent={memory} />
        </span>
      </div>
      <div role="cell" className={styles.share}>
        <span className={styles.cellLabel}>Fullest disk</span>
        <span className={styles.gauge}>
          {formatPercent(disk)}
          <Meter percent={disk} />
        </span>
      </div>
      <div role="cell" className={styles.load}>
        <span className={styles.cellLabel}>Load</span>
        {formatLoad(valueOf(host, "load1"))}
      </div>
      <div role="cell" className={styles.pair}>
        <span className={styles.cellLabel}>Network</span>
        <Rate label="received" icon="down" value={valueOf(host, "networks_receive_bytes_per_second")} />
        <Rate label="sent" icon="up" value={valueOf(host, "networks_transmit_bytes_per_second")} />
      </div>
      <div role="cell" className={styles.pair}>
        <span className={styles.cellLabel}>Disk I/O</span>
        <Rate label="read" icon="R" value={valueOf(host, "disks_read_bytes_per_second")} />
        <Rate label="written" icon="W" value={valueOf(host, "disks_written_bytes_per_second")} />
      </div>
      <div role="cell" className={styles.uptime}>
        <span className={styles.cellLabel}>Up</span>
        {formatDuration(valueOf(host, "uptime_seconds"))}
      </div>
      <div role="cell" className={styles.seen}>
        <LastSeen time={toUnixSeconds(host.latest?.time)} status={status} />
      </div>
    </div>
  );
});

function Rate({ label, icon, value }: { label: string; icon: "up" | "down" | "R" | "W"; value: number | undefined }) {
  return (
    <span className={styles.rate}>
      <span className={styles.direction} aria-hidden="true">
        {icon === "up" || icon === "down" ? <Icon name={icon} size={11} /> : icon}
      </span>
      <span className="srOnly">{label} </span>
      {formatBytesPerSecond(value)}
    </span>
  );
}
