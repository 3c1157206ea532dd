"use client";
import { useSyncExternalStore } from "react";
import { useLive } from "@/live/LiveProvider";
import type { ReadingLog } from "@/live/readings";

/** The live readings of the open host. `version` grows with each, for memoised work on them. */
export function useReadings(): { log: ReadingLog; version: number } {
  const { readings } = useLive();
  const version = useSyncExternalStore(
    (listener) => readings.subscribe(listener),
    () => readings.version,
    () => 0,
  );
  return { log: readings, version };
}
