"use client";
import { useMemo } from "react";
import { Chart } from "@/components/chart/Chart";
import { frameProps, type ChartFrame } from "@/components/host/charts/frame";
import { instanceLines } from "@/components/host/charts/lines";
import { HeatScale } from "@/components/chart/HeatScale";
import { coreMetrics } from "@/components/host/hostMetrics";
import { useHostSeries } from "@/components/host/useHostSeries";

/** Cores as strips of colour, the first on top. */
export function CoresChart({ frame }: { frame: ChartFrame }) {
  const series = useHostSeries(frame.hostId, coreMetrics, frame.range, frame.interval);
  const { lines } = useMemo(() => instanceLines(series.of("core_usage_percent"), "core", Number.POSITIVE_INFINITY), [series]);
  const named = useMemo(() => lines.map((line) => ({ ...line, label: `core ${line.label}` })), [lines]);
  if (lines.length === 0 && !series.waiting) return null;
  return (
    <Chart
      metric="cores"
      title="CPU by core"
      help={frame.catalogue.helpOf("core_usage_percent")}
      unit="UNIT_PERCENT"
      mode="heat"
      lines={named}
      footer={<HeatScale />}
      {...frameProps(frame, series)}
    />
  );
}
