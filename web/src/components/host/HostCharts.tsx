"use client";
import { ConnectionsChart } from "@/components/host/charts/ConnectionsChart";
import { CoresChart } from "@/components/host/charts/CoresChart";
import { CpuChart } from "@/components/host/charts/CpuChart";
import { DiskCharts } from "@/components/host/charts/DiskCharts";
import { FilesystemChart } from "@/components/host/charts/FilesystemChart";
import { LoadChart } from "@/components/host/charts/LoadChart";
import { MemoryChart } from "@/components/host/charts/MemoryChart";
import { NetworkChart } from "@/components/host/charts/NetworkChart";
import { SwapChart } from "@/components/host/charts/SwapChart";
import { TemperatureChart } from "@/components/host/charts/TemperatureChart";
import type { ChartFrame } from "@/components/host/charts/frame";
import type { Bounds } from "@/components/chart/Chart";
import { ProcessesChart } from "@/components/host/charts/ProcessesChart";
import { LossNotes } from "@/components/host/LossNotes";
import { SourceNote } from "@/components/host/SourceNote";
import { hostMetrics } from "@/components/host/hostMetrics";
import { useHostSeries } from "@/components/host/useHostSeries";
import { CustomMetricsPanel } from "@/components/host/CustomMetricsPanel";
import { messageOf } from "@/api/client";
import type { HostJson } from "@/gen/gohub/v1/query_pb";
import type { TimeRange } from "@/lib/timerange";
import { useCatalogue } from "@/queries/useCatalogue";
import styles from "./HostCharts.module.css";

// Of an agent that does not say; the agents' own default.
const DEFAULT_INTERVAL_SECONDS = 10;

type HostChartsProps = {
  host: HostJson;
  hostId: number;
  range: TimeRange;
  bounds: Bounds;
  onZoom: (from: number, to: number) => void;
  onReset: () => void;
};

export function HostCharts({ host, hostId, range, bounds, onZoom, onReset }: HostChartsProps) {
  const catalogue = useCatalogue();
  const interval = (host.facts?.intervalMillis ?? 0) / 1000 || DEFAULT_INTERVAL_SECONDS;
  const series = useHostSeries(hostId, hostMetrics, range, interval);
  const frame: ChartFrame = { hostId, range, interval, bounds, catalogue, onZoom, onReset };
  return (
    <section aria-label="Charts">
      {series.error ? (
        <p className={styles.error} role="alert">
          The stored values can not be read: {messageOf(series.error)}
        </p>
      ) : null}
      <LossNotes losses={series.losses} />
      <SourceNote width={series.width} source={series.source} notes={series.notes} />
      <div className={styles.grid}>
        <CpuChart frame={frame} series={series} />
        <CoresChart frame={frame} />
        <LoadChart frame={frame} series={series} />
        <MemoryChart frame={frame} series={series} />
        <SwapChart frame={frame} series={series} />
        <NetworkChart frame={frame} />
        <DiskCharts frame={frame} />
        <FilesystemChart frame={frame} />
        <TemperatureChart frame={frame} />
        <ConnectionsChart frame={frame} series={series} />
        <ProcessesChart frame={frame} series={series} />
      </div>
      <CustomMetricsPanel host={host} frame={frame} />
    </section>
  );
}
