"use client";
import { useMemo } from "react";
import { Chart } from "@/components/chart/Chart";
import { frameProps, type ChartFrame } from "@/components/host/charts/frame";
import { hostLines } from "@/components/host/charts/lines";
import type { HostSeries } from "@/components/host/useHostSeries";

const lines = [{ metric: "swap_used_bytes", label: "used", colour: 4, filled: true }] as const;

export function SwapChart({ frame, series }: { frame: ChartFrame; series: HostSeries }) {
  const drawn = useMemo(() => hostLines(series, lines), [series]);
  const total = series.of("swap_total_bytes")[0]?.max.at(-1) ?? 0;
  const range = useMemo(() => ({ min: 0, max: total, fromZero: true }), [total]);
  // A machine without swap space.
  if (total === 0) return null;
  return (
    <Chart
      metric="swap"
      title="Swap"
      help={frame.catalogue.helpOf("swap_used_bytes")}
      unit={frame.catalogue.unitOf("swap_used_bytes")}
      lines={drawn}
      y={range}
      {...frameProps(frame, series)}
    />
  );
}
