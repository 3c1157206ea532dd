"use client";
import { useMemo } from "react";
import { Chart } from "@/components/chart/Chart";
import { frameProps, type ChartFrame } from "@/components/host/charts/frame";
import { hostLines } from "@/components/host/charts/lines";
import type { HostSeries } from "@/components/host/useHostSeries";

const lines = [
  { metric: "tcp_connections", label: "TCP, all states", colour: 8 },
  { metric: "tcp_established_connections", label: "TCP established", colour: 1, filled: true },
  { metric: "tcp_listening_sockets", label: "TCP listening", colour: 3 },
  { metric: "udp_sockets", label: "UDP", colour: 2 },
] as const;

export function ConnectionsChart({ frame, series }: { frame: ChartFrame; series: HostSeries }) {
  const drawn = useMemo(() => hostLines(series, lines), [series]);
  if (drawn.length === 0 && !series.waiting) return null;
  return (
    <Chart
      metric="connections"
      title="TCP and UDP"
      help={frame.catalogue.helpOf("tcp_connections")}
      unit={frame.catalogue.unitOf("tcp_connections")}
      lines={drawn}
      {...frameProps(frame, series)}
    />
  );
}
