// What a chart draws, as columns, independent of the library that draws it.
import { countPoints, insertGaps, isDownsampled, joinTables, stack, type Column, type Points } from "@/lib/series";

/** One of the colours --series-1 … --series-8. */
export type Colour = 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8;

export type Line = {
  label: string;
  colour: Colour;
  points: Points;
  /** Drawn below the axis: what goes out, where what comes in is above it. */
  below?: boolean;
  /** The area under the line is tinted. */
  filled?: boolean;
  dashed?: boolean;
  /** In a stack: drawn over it, not as one of its layers. */
  overlay?: boolean;
};

export type ChartMode = "lines" | "stack" | "heat";

export type ChartData = {
  times: number[];
  /** What is drawn, a column a line. */
  drawn: Column[];
  /** What the legend says of each line: before stacking and mirroring. */
  told: Column[];
  /** Lowest and highest value of each line's buckets; null where the line has no band. */
  bands: ({ low: Column; high: Column } | null)[];
  /** How many values are drawn. */
  points: number;
};

// With more lines than this their bands would only be mud.
const MAX_BANDS = 8;

function flip(column: Column): Column {
  return column.map((value) => (value === null || value === undefined ? value : -value));
}

function stackUnderOverlays(lines: Line[], columns: Column[]): Column[] {
  const isLayer = (_: unknown, index: number) => !lines[index]?.overlay;
  const layers = stack(columns.filter(isLayer));
  return [...layers, ...columns.filter((column, index) => !isLayer(column, index))];
}

/** Overlays come last among the lines. */
export function chartData(lines: Line[], mode: ChartMode, step: number): ChartData {
  const joined = joinTables(
    lines.map(({ points }) => insertGaps(points.times, [points.avg, points.min, points.max], step)),
  );
  const told = lines.map((_, index) => joined.columns[index * 3] ?? []);
  const banded = mode === "lines" && lines.length <= MAX_BANDS;
  const bands = lines.map((line, index) => {
    if (!banded || line.dashed || !isDownsampled(line.points)) return null;
    const low = joined.columns[index * 3 + 1] ?? [];
    const high = joined.columns[index * 3 + 2] ?? [];
    return line.below ? { low: flip(high), high: flip(low) } : { low, high };
  });
  const drawn = mode === "stack" ? stackUnderOverlays(lines, told) : told.map((column, index) => (lines[index]?.below ? flip(column) : column));
  return { times: joined.times, drawn, told, bands, points: countPoints(told) };
}

export function latestValue(column: Column | undefined): number | undefined {
  const value = column?.at(-1);
  return value ?? undefined;
}

const palette: Colour[] = [1, 2, 3, 4, 5, 6, 7, 8];

export function colourOf(index: number): Colour {
  return palette[index % palette.length] ?? 1;
}

export function mean(points: Points): number {
  let sum = 0;
  for (const value of points.avg) sum += value;
  return points.avg.length === 0 ? 0 : sum / points.avg.length;
}
