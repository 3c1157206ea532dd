import type { Bounds, ChartProps } from "@/components/chart/Chart";
import type { HostSeries } from "@/components/host/useHostSeries";
import type { TimeRange } from "@/lib/timerange";
import type { Catalogue } from "@/queries/useCatalogue";

/** What all charts of a host's page have in common. */
export type ChartFrame = {
  hostId: number;
  range: TimeRange;
  /** Seconds between two samples of the host. */
  interval: number;
  bounds: Bounds;
  catalogue: Catalogue;
  onZoom: (from: number, to: number) => void;
  onReset: () => void;
};

export function frameProps(frame: ChartFrame, series: HostSeries): Pick<ChartProps, "step" | "bounds" | "losses" | "loading" | "onZoom" | "onReset"> {
  return {
    step: series.step,
    bounds: frame.bounds,
    losses: series.losses,
    loading: series.waiting || series.outdated,
    onZoom: frame.onZoom,
    onReset: frame.onReset,
  };
}
