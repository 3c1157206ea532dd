"use client";
import { useMemo } from "react";
import { appendLive, dropBefore, seriesKey, type Points } from "@/lib/series";
import type { Loss } from "@/lib/losses";
import { presets, type TimeRange } from "@/lib/timerange";
import type { ReadingLog } from "@/live/readings";
import { useReadings } from "@/live/useReadings";
import { useRange, type RangeAnswer } from "@/queries/useRange";

export type HostSeries = {
  /** Series of a metric, one an instance. */
  of: (metric: string) => Points[];
  /** Seconds between two points. */
  step: number;
  source: string;
  notes: string[];
  /** Seconds that a point stands for; more than the step of samples where they are averaged. */
  width: number;
  losses: Loss[];
  /** The first answer is not there yet. */
  waiting: boolean;
  /** What is shown belongs to another range, until the answer for this one comes. */
  outdated: boolean;
  error: Error | null;
};

const none: Loss[] = [];
const noNotes: string[] = [];

/** Instances that appeared after the stored answer was made have live values only. */
function withNewInstances(stored: Points[], metrics: readonly string[], log: ReadingLog): Points[] {
  const known = new Set(stored.map(({ metric, labels }) => seriesKey(metric, labels)));
  const added = metrics.flatMap((metric) =>
    log
      .instancesOf(metric)
      .filter((labels) => !known.has(seriesKey(metric, labels)))
      .map((labels): Points => ({ metric, labels, times: [], avg: [], min: [], max: [] })),
  );
  return [...stored, ...added];
}

function following(answer: RangeAnswer, metrics: readonly string[], log: ReadingLog, seconds: number, interval: number): Points[] {
  const oldest = Math.max(answer.to, log.newestTime) - seconds - answer.step;
  return withNewInstances(answer.series, metrics, log).map((points) =>
    dropBefore(
      appendLive(points, log.of(points.metric, points.labels), { step: answer.step, interval, coveredTo: answer.to }),
      oldest,
    ),
  );
}

/** Stored values of a range and, where it follows the clock, the live values since. */
export function useHostSeries(hostId: number, metrics: readonly string[], range: TimeRange, interval: number): HostSeries {
  const query = useRange(hostId, metrics, range);
  const { log, version } = useReadings();
  const answer = query.data;
  const seconds = range.kind === "follow" ? presets[range.preset].seconds : null;

  const series = useMemo(() => {
    // The log changes in place; its version says when to look again.
    void version;
    if (!answer) return [];
    return seconds === null ? answer.series : following(answer, metrics, log, seconds, interval);
  }, [answer, metrics, log, version, seconds, interval]);

  return useMemo(
    () => ({
      of: (metric) => series.filter((points) => points.metric === metric),
      // A step below the agent's interval would make a gap of every second bucket.
      step: Math.max(answer?.step ?? 0, interval),
      source: answer?.source ?? "",
      notes: answer?.notes ?? noNotes,
      width: answer?.step ?? 0,
      losses: answer?.losses ?? none,
      waiting: query.isPending,
      outdated: query.isPlaceholderData,
      error: query.error,
    }),
    [series, answer, interval, query.isPending, query.isPlaceholderData, query.error],
  );
}
