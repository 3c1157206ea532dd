"use client";
import { useSyncExternalStore } from "react";
import type { Bounds } from "@/components/chart/Chart";
import { serverNow } from "@/lib/clock";
import { boundsOf, type TimeRange } from "@/lib/timerange";
import { useReadings } from "@/live/useReadings";

// How often a chart moves on by itself while no value comes.
const TICK_SECONDS = 5;

function subscribe(listener: () => void): () => void {
  const timer = window.setInterval(listener, TICK_SECONDS * 1_000);
  return () => {
    window.clearInterval(timer);
  };
}

function tick(): number {
  return Math.floor(serverNow() / TICK_SECONDS) * TICK_SECONDS;
}

/** The time axis of all charts of the page. */
export function useBounds(range: TimeRange): Bounds {
  const { log } = useReadings();
  const now = useSyncExternalStore(subscribe, tick, () => 0);
  return boundsOf(range, Math.max(now, log.newestTime));
}
