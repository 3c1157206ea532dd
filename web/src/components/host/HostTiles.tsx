import { Tile } from "@/components/host/Tile";
import type { HostJson } from "@/gen/gohub/v1/query_pb";
import { valueOf } from "@/lib/fleet";
import { formatBytes, formatBytesPerSecond, formatCelsius, formatDuration, formatLoad, formatNumber, formatPercent } from "@/lib/format";
import styles from "./HostTiles.module.css";

/** The newest values. A value that the host can not read has no tile. */
export function HostTiles({ host }: { host: HostJson }) {
  const value = (metric: string) => valueOf(host, metric);
  const swapTotal = value("swap_total_bytes") ?? 0;
  const temperature = value("temperature_highest_celsius");
  return (
    <section className={styles.tiles} data-down={host.status === "HOST_STATUS_DOWN"} aria-label="Newest values">
      <Tile name="CPU" value={formatPercent(value("cpu_usage_percent"))} percent={value("cpu_usage_percent")} />
      <Tile
        name="Memory"
        value={formatPercent(value("memory_used_percent"))}
        detail={`${formatBytes(value("memory_used_bytes"))} of ${formatBytes(value("memory_total_bytes"))}`}
        percent={value("memory_used_percent")}
      />
      {swapTotal > 0 ? (
        <Tile
          name="Swap"
          value={formatPercent(value("swap_used_percent"))}
          detail={`${formatBytes(value("swap_used_bytes"))} of ${formatBytes(swapTotal)}`}
          percent={value("swap_used_percent")}
        />
      ) : null}
      <Tile name="Fullest disk" value={formatPercent(value("filesystem_fullest_percent"))} percent={value("filesystem_fullest_percent")} />
      {value("load1") === undefined ? null : (
        <Tile
          name="Load"
          value={formatLoad(value("load1"))}
          detail={`then ${formatLoad(value("load5"))}, ${formatLoad(value("load15"))}`}
        />
      )}
      <Tile
        name="Network"
        value={`↓ ${formatBytesPerSecond(value("networks_receive_bytes_per_second"))}`}
        detail={`↑ ${formatBytesPerSecond(value("networks_transmit_bytes_per_second"))}`}
      />
      <Tile
        name="Disk I/O"
        value={`R ${formatBytesPerSecond(value("disks_read_bytes_per_second"))}`}
        detail={`W ${formatBytesPerSecond(value("disks_written_bytes_per_second"))}`}
      />
      {temperature === undefined ? null : <Tile name="Hottest sensor" value={formatCelsius(temperature)} />}
      <Tile name="Uptime" value={formatDuration(value("uptime_seconds"))} detail={`${formatNumber(value("processes"))} processes`} />
    </section>
  );
}
