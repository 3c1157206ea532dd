// From series of the API to the lines of a chart.
import { colourOf, mean, type Colour, type Line } from "@/lib/chart";
import type { HostSeries } from "@/components/host/useHostSeries";
import type { Points } from "@/lib/series";

type HostLine = { metric: string; label: string; colour: Colour; filled?: boolean; dashed?: boolean };

/** One line a metric of the host family; metrics that the host can not read have none. */
export function hostLines(series: HostSeries, wanted: readonly HostLine[]): Line[] {
  return wanted.flatMap(({ metric, ...line }) => {
    const points = series.of(metric)[0];
    return points && points.times.length > 0 ? [{ ...line, points }] : [];
  });
}

export type InstanceLines = { lines: Line[]; hidden: number };

const byName = new Intl.Collator("en", { numeric: true });

/** One line an instance, named by a label. Of many, those with the largest averages. */
export function instanceLines(series: Points[], name: string, limit: number): InstanceLines {
  const drawn = series.filter((points) => points.times.length > 0);
  const largest = [...drawn].sort((a, b) => mean(b) - mean(a)).slice(0, limit);
  const named = largest.map((points) => ({ label: points.labels[name] ?? "", points }));
  named.sort((a, b) => byName.compare(a.label, b.label));
  return {
    lines: named.map((line, index) => ({ ...line, colour: colourOf(index) })),
    hidden: drawn.length - largest.length,
  };
}

/** Two metrics of each instance: the first above the axis, the second below, in the instance's colour. */
export function mirroredLines(
  above: Points[],
  below: Points[],
  name: string,
  words: { above: string; below: string },
  limit: number,
): InstanceLines {
  const partner = new Map(below.map((points) => [points.labels[name] ?? "", points]));
  const upper = instanceLines(above, name, limit);
  const lines = upper.lines.flatMap((line): Line[] => {
    const other = partner.get(line.label);
    return [
      { ...line, label: `${line.label} ${words.above}`, filled: true },
      ...(other ? [{ ...line, label: `${line.label} ${words.below}`, points: other, below: true, filled: true }] : []),
    ];
  });
  return { lines, hidden: upper.hidden };
}
