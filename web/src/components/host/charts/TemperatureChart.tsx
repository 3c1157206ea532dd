"use client";
import { useMemo } from "react";
import { Chart } from "@/components/chart/Chart";
import { frameProps, type ChartFrame } from "@/components/host/charts/frame";
import { instanceLines } from "@/components/host/charts/lines";
import { useLineLimit } from "@/components/host/charts/useLineLimit";
import { sensorMetrics } from "@/components/host/hostMetrics";
import { useHostSeries } from "@/components/host/useHostSeries";

const range = { fromZero: false };

/** Absent where the host has no sensor, as most virtual machines. */
export function TemperatureChart({ frame }: { frame: ChartFrame }) {
  const series = useHostSeries(frame.hostId, sensorMetrics, frame.range, frame.interval);
  const { limit, more } = useLineLimit();
  const { lines, hidden } = useMemo(() => instanceLines(series.of("sensor_temperature_celsius"), "sensor", limit), [series, limit]);
  if (lines.length === 0) return null;
  return (
    <Chart
      metric="temperature"
      title="Temperature"
      help={frame.catalogue.helpOf("sensor_temperature_celsius")}
      unit={frame.catalogue.unitOf("sensor_temperature_celsius")}
      lines={lines}
      y={range}
      footer={more(hidden, "sensors")}
      {...frameProps(frame, series)}
    />
  );
}
