"use client";
import { useEffect, useId, useMemo, useRef, type ReactNode } from "react";
import uPlot from "uplot";
import { readPalette } from "@/components/chart/colours";
import { Legend } from "@/components/chart/Legend";
import { alignedData, chartOptions, PLOT_HEIGHT, type YRange } from "@/components/chart/options";
import { useResolvedTheme } from "@/components/shell/useTheme";
import type { UnitJson } from "@/gen/gohub/v1/metric_pb";
import { chartData, latestValue, type ChartMode, type Line } from "@/lib/chart";
import type { Loss } from "@/lib/losses";
import { formatDateTime, formatterOf, type Formatter } from "@/lib/format";
import styles from "./Chart.module.css";

export type Bounds = { from: number; to: number };

export type ChartProps = {
  /** Short name for tests and for links to the chart. */
  metric: string;
  title: string;
  /** How to read the chart, where its lines do not say it. */
  subtitle?: string;
  /** A sentence that says what is measured. */
  help?: string;
  unit: UnitJson;
  /** Instead of the unit's own way to write values. */
  format?: Formatter;
  mode?: ChartMode;
  lines: Line[];
  /** Seconds between two points. */
  step: number;
  bounds: Bounds;
  /** Marked on the time axis. */
  losses: Loss[];
  y?: YRange;
  loading: boolean;
  footer?: ReactNode;
  onZoom: (from: number, to: number) => void;
  onReset: () => void;
};

const defaultRange: YRange = { fromZero: true };

export function Chart(props: ChartProps) {
  const { metric, title, subtitle, help, unit, format = formatterOf(unit), mode = "lines", lines, step, bounds, losses, y = defaultRange, loading, footer, onZoom, onReset } = props;
  const theme = useResolvedTheme();
  const titleId = useId();
  const plot = useRef<HTMLDivElement>(null);
  const legend = useRef<HTMLUListElement>(null);
  const time = useRef<HTMLTimeElement>(null);
  const chart = useRef<uPlot | null>(null);
  const data = useMemo(() => chartData(lines, mode, step), [lines, mode, step]);

  // What the chart is made of; it is built anew when this changes, and only fed when it does not.
  const spec = JSON.stringify({
    mode,
    unit,
    y,
    lines: lines.map(({ label, colour, below, filled, dashed, overlay }) => ({ label, colour, below, filled, dashed, overlay })),
    banded: data.bands.map((band) => band !== null),
  });

  /** Writes the values at an index, or the newest, past React: the pointer moves more often than React should render. */
  const tell = (index: number | null) => {
    data.told.forEach((column, line) => {
      const output = legend.current?.querySelector<HTMLElement>(`[data-line="${line}"]`);
      if (output) output.textContent = format(index === null ? latestValue(column) : column[index]);
    });
    const at = index === null ? undefined : data.times[index];
    if (time.current) time.current.textContent = at === undefined ? "" : formatDateTime(at);
  };

  const latest = useRef({ data, bounds, losses, tell, onZoom, onReset });
  useEffect(() => {
    latest.current = { data, bounds, losses, tell, onZoom, onReset };
  });

  useEffect(() => {
    const element = plot.current;
    if (!element) return;
    const events = {
      losses: () => latest.current.losses,
      onCursor: (index: number | null) => {
        latest.current.tell(index);
      },
      onZoom: (from: number, to: number) => {
        latest.current.onZoom(from, to);
      },
      onReset: () => {
        latest.current.onReset();
      },
    };
    const options = chartOptions(JSON.parse(spec) as Parameters<typeof chartOptions>[0], readPalette(element), element.clientWidth, events);
    const u = new uPlot(options, alignedData(latest.current.data), element);
    chart.current = u;
    feed(u, latest.current.data, latest.current.bounds);
    const resize = new ResizeObserver(() => {
      if (element.clientWidth > 0) u.setSize({ width: element.clientWidth, height: PLOT_HEIGHT });
    });
    resize.observe(element);
    return () => {
      resize.disconnect();
      u.destroy();
      chart.current = null;
    };
  }, [spec, theme]);

  const { from, to } = bounds;
  useEffect(() => {
    if (!chart.current) return;
    feed(chart.current, data, { from, to });
    latest.current.tell(chart.current.cursor.idx ?? null);
  }, [data, from, to, losses, spec, theme]);

  return (
    <figure className={styles.chart} data-testid="chart" data-metric={metric} data-points={data.points} data-loading={loading} aria-labelledby={titleId}>
      <figcaption className={styles.caption}>
        <h3 id={titleId} className={styles.title} title={help}>
          {title}
        </h3>
        {subtitle === undefined ? null : <span className={styles.subtitle}>{subtitle}</span>}
        <time ref={time} className={styles.time} />
      </figcaption>
      <div ref={plot} className={styles.plot} role="img" aria-label={describe(title, lines, data.told, format)} style={{ height: PLOT_HEIGHT }} />
      {data.points === 0 ? <p className={styles.none}>{loading ? "Loading…" : "No data in this range"}</p> : null}
      <Legend ref={legend} lines={lines} heat={mode === "heat"} />
      {footer}
    </figure>
  );
}

function feed(u: uPlot, data: ReturnType<typeof chartData>, bounds: Bounds): void {
  u.batch(() => {
    u.setData(alignedData(data), false);
    u.setScale("x", { min: bounds.from, max: bounds.to });
  });
}

/** The chart in a sentence, for those who do not see it. */
function describe(title: string, lines: Line[], told: (number | null | undefined)[][], format: (value: number | undefined) => string): string {
  const values = lines.slice(0, 8).map((line, index) => `${line.label} ${format(latestValue(told[index]))}`);
  return `${title}: ${values.length > 0 ? values.join(", ") : "no data"}`;
}
