"use client";
import { useQuery } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { serverNow } from "@/lib/clock";
import { TRACE_SECONDS, TRACE_STEP_SECONDS } from "@/live/hosts";
import { useLive } from "@/live/LiveProvider";
import { fetchRange } from "@/queries/useRange";

const POINTS = TRACE_SECONDS / TRACE_STEP_SECONDS;
const METRIC = "cpu_usage_percent";

// A row that stays this long is looked at; those that fly by while scrolling ask for nothing.
const SETTLE_MILLIS = 400;

/** Reads a sparkline's past once, so that it does not start empty. */
export function useBackfill(id: number): void {
  const { fleet } = useLive();
  const [settled, setSettled] = useState(false);
  useEffect(() => {
    const timer = window.setTimeout(() => {
      setSettled(true);
    }, SETTLE_MILLIS);
    return () => {
      window.clearTimeout(timer);
    };
  }, []);
  const past = useQuery({
    queryKey: ["spark", id],
    queryFn: async ({ signal }) => {
      const now = serverNow();
      const answer = await fetchRange(id, [METRIC], { from: now - TRACE_SECONDS, to: now }, POINTS, signal);
      return answer.series[0] ?? null;
    },
    enabled: settled,
    staleTime: Number.POSITIVE_INFINITY,
    retry: false,
  });
  useEffect(() => {
    if (past.data) fleet.backfill(id, past.data.times, past.data.avg);
  }, [fleet, id, past.data]);
}
