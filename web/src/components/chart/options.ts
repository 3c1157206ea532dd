// How uPlot is told to draw: axes, scales, lines and bands of one chart.
import type uPlot from "uplot";
import type { UnitJson } from "@/gen/gohub/v1/metric_pb";
import { withAlpha, type Palette } from "@/components/chart/colours";
import { lossPlugin } from "@/components/chart/losses";
import { heatPlugin } from "@/components/chart/heat";
import type { ChartData, ChartMode, Line } from "@/lib/chart";
import type { Loss } from "@/lib/losses";
import { formatterOf } from "@/lib/format";
import { axisIncrements } from "@/lib/units";

export const PLOT_HEIGHT = 190;
// One width for all charts, so that their times stand below one another.
const AXIS_WIDTH = 72;
// Crosshairs of charts with one key move together.
const SYNC_KEY = "host";
// A drag shorter than this was a click.
const MIN_DRAG_PIXELS = 6;

export type YRange = { min?: number; max?: number; fromZero: boolean };

export type ChartSpec = {
  mode: ChartMode;
  unit: UnitJson;
  lines: Pick<Line, "label" | "colour" | "below" | "filled" | "dashed" | "overlay">[];
  banded: boolean[];
  y: YRange;
};

function two(value: number): string {
  return value.toString().padStart(2, "0");
}

const months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/** Times in 24 hours; the date where a day begins. */
function timeLabels(splits: number[], increment: number): string[] {
  return splits.map((seconds) => {
    const date = new Date(seconds * 1000);
    const clock = `${two(date.getHours())}:${two(date.getMinutes())}`;
    if (increment >= 86_400 || clock === "00:00") return `${months[date.getMonth()] ?? ""} ${date.getDate()}`;
    return increment < 60 ? `${clock}:${two(date.getSeconds())}` : clock;
  });
}

function yScale(spec: ChartSpec): uPlot.Scale {
  const { min, max, fromZero } = spec.y;
  return {
    range: (_, dataMin, dataMax) => {
      // uPlot has null here where nothing is drawn, whatever its types say.
      let low = (dataMin as number | null) ?? 0;
      let high = (dataMax as number | null) ?? 1;
      if (fromZero) {
        low = Math.min(low, 0);
        high = Math.max(high, 0);
      }
      const pad = (high - low) * 0.06;
      const top = max ?? (high === low ? high + 1 : high + pad);
      const bottom = min ?? (fromZero && low >= 0 ? 0 : low - pad);
      return [bottom, Math.max(top, bottom + Number.EPSILON)];
    },
  };
}

/** Axes stand on round numbers: "4.00 GiB" is "4 GiB" there. */
function roundLabel(text: string): string {
  return text.replace(/\.0+(?=\D|$)/, "");
}

function axes(spec: ChartSpec, colour: Palette): uPlot.Axis[] {
  const format = formatterOf(spec.unit);
  const common: uPlot.Axis = {
    stroke: colour("--muted"),
    font: `11px ${getComputedStyle(document.body).fontFamily}`,
    grid: { stroke: colour("--grid"), width: 1 },
    ticks: { show: false },
  };
  return [
    { ...common, size: 28, gap: 8, space: 70, values: (_, splits, __, ___, increment) => timeLabels(splits, increment) },
    {
      ...common,
      size: AXIS_WIDTH,
      gap: 8,
      space: 34,
      incrs: axisIncrements(spec.unit),
      // Below zero is a direction, not a negative value.
      values: (_, splits) => splits.map((value) => roundLabel(format(spec.lines.some((line) => line.below) ? Math.abs(value) : value))),
      ...(spec.mode === "heat" ? { values: () => [], grid: { show: false } } : {}),
    },
  ];
}

function lineSeries(spec: ChartSpec, colour: Palette): uPlot.Series[] {
  return spec.lines.map((line) => {
    if (spec.mode === "heat") return { paths: () => null, points: { show: false } };
    const stroke = colour(`--series-${line.colour}`);
    const tint = spec.mode === "stack" ? 0.45 : 0.14;
    return {
      label: line.label,
      stroke,
      width: spec.mode === "stack" ? 1 : 1.5,
      ...((spec.mode === "stack" && !line.overlay) || line.filled ? { fill: withAlpha(stroke, tint) } : {}),
      ...(line.dashed ? { dash: [4, 3] } : {}),
      // A value between two gaps has no line; without a dot it would not be seen.
      points: { size: 4, fill: stroke, filter: (u, index) => lonelyPoints(u.data[index] ?? []) },
    } satisfies uPlot.Series;
  });
}

function lonelyPoints(column: ArrayLike<number | null | undefined>): number[] {
  const lonely: number[] = [];
  for (let index = 0; index < column.length; index++) {
    const known = column[index] !== null && column[index] !== undefined;
    if (known && !hasNeighbour(column, index, -1) && !hasNeighbour(column, index, 1)) lonely.push(index);
  }
  return lonely;
}

function hasNeighbour(column: ArrayLike<number | null | undefined>, index: number, direction: 1 | -1): boolean {
  let at = index + direction;
  // undefined is no gap: the line goes on over it.
  while (at >= 0 && at < column.length && column[at] === undefined) at += direction;
  return at >= 0 && at < column.length && column[at] !== null;
}

/** The columns in the order of the options' series: lines first, then low and high of each band. */
export function alignedData(data: ChartData): uPlot.AlignedData {
  const bands = data.bands.flatMap((band) => (band ? [band.low, band.high] : []));
  return [data.times, ...data.drawn, ...bands];
}

function bandSeries(spec: ChartSpec, colour: Palette): { series: uPlot.Series[]; bands: uPlot.Band[] } {
  const series: uPlot.Series[] = [];
  const bands: uPlot.Band[] = [];
  if (spec.mode === "stack") {
    const layers = spec.lines.filter((line) => !line.overlay).length;
    for (let upper = 2; upper <= layers; upper++) bands.push({ series: [upper, upper - 1] });
  }
  let next = spec.lines.length + 1;
  spec.banded.forEach((banded, index) => {
    if (!banded) return;
    const fill = withAlpha(colour(`--series-${spec.lines[index]?.colour ?? 1}`), spec.lines.length > 4 ? 0.12 : 0.2);
    // Lines that are not drawn, for uPlot fills between two series only.
    const edge: uPlot.Series = { width: 0, stroke: "transparent", points: { show: false } };
    series.push(edge, edge);
    bands.push({ series: [next + 1, next], fill });
    next += 2;
  });
  return { series, bands };
}

export function chartOptions(
  spec: ChartSpec,
  colour: Palette,
  width: number,
  events: { losses: () => Loss[]; onCursor: (index: number | null) => void; onZoom: (from: number, to: number) => void; onReset: () => void },
): uPlot.Options {
  const { series, bands } = bandSeries(spec, colour);
  return {
    width,
    height: PLOT_HEIGHT,
    padding: [10, 6, 0, 0],
    legend: { show: false },
    scales: { x: { time: true, auto: false }, y: spec.mode === "heat" ? { range: [0, Math.max(1, spec.lines.length)] } : yScale(spec) },
    axes: axes(spec, colour),
    series: [{}, ...lineSeries(spec, colour), ...series],
    bands,
    cursor: {
      y: false,
      drag: { x: true, y: false, setScale: false, dist: MIN_DRAG_PIXELS },
      points: { show: spec.mode !== "heat", size: 7 },
      sync: {
        key: SYNC_KEY,
        scales: ["x", null],
        // A drag zooms once, in the chart where it happened.
        filters: { pub: (type) => type === "mousemove" || type === "mouseleave" },
      },
      bind: {
        dblclick: () => () => {
          events.onReset();
          return null;
        },
      },
    },
    hooks: {
      setCursor: [
        (u) => {
          events.onCursor(u.cursor.idx ?? null);
        },
      ],
      setSelect: [
        (u) => {
          if (u.select.width < MIN_DRAG_PIXELS) return;
          events.onZoom(u.posToVal(u.select.left, "x"), u.posToVal(u.select.left + u.select.width, "x"));
          u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
        },
      ],
    },
    plugins: [
      lossPlugin(colour, events.losses),
      ...(spec.mode === "heat" ? [heatPlugin(colour, spec.lines.map((line) => line.label))] : []),
    ],
  };
}
