"use client";
import { useMemo } from "react";
import { Chart } from "@/components/chart/Chart";
import { frameProps, type ChartFrame } from "@/components/host/charts/frame";
import { mirroredLines } from "@/components/host/charts/lines";
import { useLineLimit } from "@/components/host/charts/useLineLimit";
import { networkMetrics } from "@/components/host/hostMetrics";
import { useHostSeries } from "@/components/host/useHostSeries";

export function NetworkChart({ frame }: { frame: ChartFrame }) {
  const series = useHostSeries(frame.hostId, networkMetrics, frame.range, frame.interval);
  const { limit, more } = useLineLimit();
  const { lines, hidden } = useMemo(
    () =>
      mirroredLines(
        series.of("network_receive_bytes_per_second"),
        series.of("network_transmit_bytes_per_second"),
        "interface",
        { above: "received", below: "sent" },
        limit,
      ),
    [series, limit],
  );
  return (
    <Chart
      metric="network"
      title="Network"
      subtitle="received above, sent below"
      help={frame.catalogue.helpOf("network_receive_bytes_per_second")}
      unit={frame.catalogue.unitOf("network_receive_bytes_per_second")}
      lines={lines}
      footer={more(hidden, "interfaces")}
      {...frameProps(frame, series)}
    />
  );
}
