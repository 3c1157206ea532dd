"use client";
import { useQuery, type UseQueryResult } from "@tanstack/react-query";
import { getJson } from "@/api/client";
import type { QueryRangeResponseJson } from "@/gen/gohub/v1/query_pb";
import { serverNow } from "@/lib/clock";
import { orZero } from "@/lib/json";
import { readLoss, type Loss } from "@/lib/losses";
import { readSeries, type Points } from "@/lib/series";
import { boundsOf, presets, type TimeRange } from "@/lib/timerange";

export type RangeAnswer = {
  from: number;
  to: number;
  /** Seconds between two points. */
  step: number;
  /** The resolutions that were read, in order of time, as "1h+raw". */
  source: string;
  /** What the server has to say of the answer. */
  notes: string[];
  series: Points[];
  losses: Loss[];
};

export function rangeKey(hostId: number): readonly [string, number] {
  return ["range", hostId] as const;
}

// About one point for two pixels of a chart half a screen wide.
const MAX_POINTS = 360;

export async function fetchRange(
  hostId: number,
  metrics: readonly string[],
  bounds: { from: number; to: number },
  maxPoints: number,
  signal?: AbortSignal,
): Promise<RangeAnswer> {
  const params = new URLSearchParams({ hostId: hostId.toString() });
  for (const metric of metrics) params.append("metrics", metric);
  params.set("from", bounds.from.toFixed(3));
  params.set("to", bounds.to.toFixed(3));
  params.set("maxPoints", maxPoints.toString());
  const answer = await getJson<QueryRangeResponseJson>(`/api/v1/range?${params.toString()}`, signal);
  return {
    from: orZero(answer.from) || bounds.from,
    to: orZero(answer.to) || bounds.to,
    step: orZero(answer.step),
    source: answer.source ?? "",
    notes: answer.notes ?? [],
    series: (answer.series ?? []).map(readSeries),
    losses: (answer.gaps ?? []).map(readLoss),
  };
}

/** A following range is read again from time to time: late samples arrive, and rollups become exact. */
function refetchMillis(range: TimeRange): number | false {
  if (range.kind === "fixed") return false;
  const seconds = presets[range.preset].seconds / MAX_POINTS;
  return Math.min(300, Math.max(60, seconds)) * 1000;
}

export function useRange(hostId: number, metrics: readonly string[], range: TimeRange): UseQueryResult<RangeAnswer> {
  return useQuery({
    queryKey: [...rangeKey(hostId), metrics, range],
    queryFn: ({ signal }) => fetchRange(hostId, metrics, boundsOf(range, serverNow()), MAX_POINTS, signal),
    placeholderData: (previous, query) => (query?.queryKey[1] === hostId ? previous : undefined),
    refetchInterval: refetchMillis(range),
    // A page that is opened again shows the present, not what was cached.
    staleTime: range.kind === "fixed" ? 60_000 : 0,
    gcTime: 60_000,
  });
}
