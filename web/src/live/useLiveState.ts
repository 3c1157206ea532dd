"use client";
import { useSyncExternalStore } from "react";
import type { LiveState } from "@/live/connection";
import { useLive } from "@/live/LiveProvider";

const beforeStart: LiveState = { state: "connecting", heardAt: null, error: null };

export function useLiveState(): LiveState {
  const { connection } = useLive();
  return useSyncExternalStore(
    (listener) => connection.onState(listener),
    () => connection.state,
    () => beforeStart,
  );
}
