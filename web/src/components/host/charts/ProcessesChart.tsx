"use client";
import { useMemo } from "react";
import { Chart } from "@/components/chart/Chart";
import { frameProps, type ChartFrame } from "@/components/host/charts/frame";
import { hostLines } from "@/components/host/charts/lines";
import type { HostSeries } from "@/components/host/useHostSeries";

const lines = [{ metric: "processes", label: "processes", colour: 6, filled: true }] as const;

const range = { fromZero: false };

export function ProcessesChart({ frame, series }: { frame: ChartFrame; series: HostSeries }) {
  const drawn = useMemo(() => hostLines(series, lines), [series]);
  if (drawn.length === 0 && !series.waiting) return null;
  return (
    <Chart
      metric="processes"
      title="Processes"
      help={frame.catalogue.helpOf("processes")}
      unit={frame.catalogue.unitOf("processes")}
      lines={drawn}
      y={range}
      {...frameProps(frame, series)}
    />
  );
}
