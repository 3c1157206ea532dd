"use client";
import { useSyncExternalStore } from "react";
import { serverNow } from "@/lib/clock";

// One timer for everything on the page that counts seconds.
let seconds = 0;
let timer: number | undefined;
const listeners = new Set<() => void>();

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  if (timer === undefined) {
    seconds = Math.floor(serverNow());
    timer = window.setInterval(() => {
      seconds = Math.floor(serverNow());
      for (const each of listeners) each();
    }, 1_000);
  }
  return () => {
    listeners.delete(listener);
    if (listeners.size > 0) return;
    window.clearInterval(timer);
    timer = undefined;
  };
}

function snapshot(): number {
  if (timer === undefined) seconds = Math.floor(serverNow());
  return seconds;
}

/** Whole Unix seconds by the server's clock, counting. */
export function useNow(): number {
  return useSyncExternalStore(subscribe, snapshot, () => 0);
}
