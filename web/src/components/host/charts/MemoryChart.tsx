"use client";
import { useMemo } from "react";
import { Chart } from "@/components/chart/Chart";
import { frameProps, type ChartFrame } from "@/components/host/charts/frame";
import { hostLines } from "@/components/host/charts/lines";
import type { HostSeries } from "@/components/host/useHostSeries";

const lines = [
  { metric: "memory_used_bytes", label: "used", colour: 1, filled: true },
  { metric: "memory_cached_bytes", label: "cached", colour: 3 },
  { metric: "memory_buffers_bytes", label: "buffers", colour: 6 },
] as const;

export function MemoryChart({ frame, series }: { frame: ChartFrame; series: HostSeries }) {
  const drawn = useMemo(() => hostLines(series, lines), [series]);
  const total = series.of("memory_total_bytes")[0]?.max.at(-1);
  const range = useMemo(() => ({ min: 0, fromZero: true, ...(total === undefined ? {} : { max: total }) }), [total]);
  return (
    <Chart
      metric="memory"
      title="Memory"
      help={frame.catalogue.helpOf("memory_used_bytes")}
      unit={frame.catalogue.unitOf("memory_used_bytes")}
      lines={drawn}
      y={range}
      {...frameProps(frame, series)}
    />
  );
}
