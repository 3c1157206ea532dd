"use client";
import { useMemo } from "react";
import { Chart } from "@/components/chart/Chart";
import { frameProps, type ChartFrame } from "@/components/host/charts/frame";
import { hostLines } from "@/components/host/charts/lines";
import { formatLoad } from "@/lib/format";
import type { HostSeries } from "@/components/host/useHostSeries";

const lines = [
  { metric: "load1", label: "1 min", colour: 1, filled: true },
  { metric: "load5", label: "5 min", colour: 2 },
  { metric: "load15", label: "15 min", colour: 3 },
] as const;

export function LoadChart({ frame, series }: { frame: ChartFrame; series: HostSeries }) {
  const drawn = useMemo(() => hostLines(series, lines), [series]);
  // Windows has no load average.
  if (drawn.length === 0 && !series.waiting) return null;
  return (
    <Chart
      metric="load"
      title="Load average"
      help={frame.catalogue.helpOf("load1")}
      unit={frame.catalogue.unitOf("load1")}
      format={formatLoad}
      lines={drawn}
      {...frameProps(frame, series)}
    />
  );
}
