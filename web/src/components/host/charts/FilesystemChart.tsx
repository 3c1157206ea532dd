"use client";
import { useMemo } from "react";
import { Chart } from "@/components/chart/Chart";
import { frameProps, type ChartFrame } from "@/components/host/charts/frame";
import { instanceLines } from "@/components/host/charts/lines";
import { useLineLimit } from "@/components/host/charts/useLineLimit";
import { filesystemMetrics } from "@/components/host/hostMetrics";
import { useHostSeries } from "@/components/host/useHostSeries";

const percent = { min: 0, max: 100, fromZero: true };

export function FilesystemChart({ frame }: { frame: ChartFrame }) {
  const series = useHostSeries(frame.hostId, filesystemMetrics, frame.range, frame.interval);
  const { limit, more } = useLineLimit();
  const { lines, hidden } = useMemo(() => instanceLines(series.of("filesystem_used_percent"), "mountpoint", limit), [series, limit]);
  return (
    <Chart
      metric="filesystem"
      title="Filesystem use"
      help={frame.catalogue.helpOf("filesystem_used_percent")}
      unit={frame.catalogue.unitOf("filesystem_used_percent")}
      lines={lines}
      y={percent}
      footer={more(hidden, "filesystems")}
      {...frameProps(frame, series)}
    />
  );
}
