"use client";
import { useMemo } from "react";
import { Chart } from "@/components/chart/Chart";
import { frameProps, type ChartFrame } from "@/components/host/charts/frame";
import { hostLines } from "@/components/host/charts/lines";
import type { HostSeries } from "@/components/host/useHostSeries";
import type { Line } from "@/lib/chart";
import { isDownsampled } from "@/lib/series";

const lines = [
  { metric: "cpu_user_percent", label: "user", colour: 1 },
  { metric: "cpu_system_percent", label: "system", colour: 2 },
  { metric: "cpu_iowait_percent", label: "I/O wait", colour: 5 },
  { metric: "cpu_steal_percent", label: "steal", colour: 7 },
] as const;

const range = { min: 0, max: 100, fromZero: true };

/** Averages of wide buckets hide spikes; this line shows them. */
function peakLine(series: HostSeries): Line[] {
  const usage = series.of("cpu_usage_percent")[0];
  if (!usage || !isDownsampled(usage)) return [];
  return [{ label: "peak", colour: 8, dashed: true, overlay: true, points: { ...usage, avg: usage.max } }];
}

export function CpuChart({ frame, series }: { frame: ChartFrame; series: HostSeries }) {
  const drawn = useMemo(() => [...hostLines(series, lines), ...peakLine(series)], [series]);
  return (
    <Chart
      metric="cpu"
      title="CPU"
      help={frame.catalogue.helpOf("cpu_usage_percent")}
      unit="UNIT_PERCENT"
      mode="stack"
      lines={drawn}
      y={range}
      {...frameProps(frame, series)}
    />
  );
}
