"use client";
import { useEffect, useState } from "react";
import { useLiveState } from "@/live/useLiveState";

// A connection that works is live long before.
const PATIENCE_MILLIS = 3_000;

/** Whether the live connection has been down for so long that the values should be had another way. */
export function useLate(): boolean {
  const { state } = useLiveState();
  const live = state === "live";
  const [late, setLate] = useState(false);
  useEffect(() => {
    if (live) return;
    const timer = window.setTimeout(() => {
      setLate(true);
    }, PATIENCE_MILLIS);
    return () => {
      window.clearTimeout(timer);
      setLate(false);
    };
  }, [live]);
  return late && !live;
}
