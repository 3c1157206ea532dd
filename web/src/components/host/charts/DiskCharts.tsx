"use client";
import { useMemo } from "react";
import { Chart } from "@/components/chart/Chart";
import { frameProps, type ChartFrame } from "@/components/host/charts/frame";
import { instanceLines, mirroredLines } from "@/components/host/charts/lines";
import { useLineLimit } from "@/components/host/charts/useLineLimit";
import { diskMetrics } from "@/components/host/hostMetrics";
import { useHostSeries } from "@/components/host/useHostSeries";

const percent = { min: 0, max: 100, fromZero: true };

export function DiskCharts({ frame }: { frame: ChartFrame }) {
  const series = useHostSeries(frame.hostId, diskMetrics, frame.range, frame.interval);
  const { limit, more } = useLineLimit();
  const bytes = useMemo(
    () =>
      mirroredLines(
        series.of("disk_read_bytes_per_second"),
        series.of("disk_written_bytes_per_second"),
        "device",
        { above: "read", below: "written" },
        limit,
      ),
    [series, limit],
  );
  const busy = useMemo(() => instanceLines(series.of("disk_busy_percent"), "device", limit), [series, limit]);
  return (
    <>
      <Chart
        metric="disk"
        title="Disk I/O"
        subtitle="read above, written below"
        help={frame.catalogue.helpOf("disk_read_bytes_per_second")}
        unit={frame.catalogue.unitOf("disk_read_bytes_per_second")}
        lines={bytes.lines}
        footer={more(bytes.hidden, "devices")}
        {...frameProps(frame, series)}
      />
      {busy.lines.length > 0 || series.waiting ? (
        <Chart
          metric="busy"
          title="Disk busy"
          help={frame.catalogue.helpOf("disk_busy_percent")}
          unit={frame.catalogue.unitOf("disk_busy_percent")}
          lines={busy.lines}
          y={percent}
          {...frameProps(frame, series)}
        />
      ) : null}
    </>
  );
}
