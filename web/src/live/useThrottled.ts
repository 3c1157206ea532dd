"use client";
import { useEffect, useState } from "react";

/**
 * Follows a store's version, at most once per `millis`: sorting thousands of hosts for every delta would cost more than
 * it shows. The first change after a pause is followed at once.
 */
export function useThrottledVersion(
  subscribe: (listener: () => void) => () => void,
  version: () => number,
  millis: number,
): number {
  const [seen, setSeen] = useState(version);
  useEffect(() => {
    let timer: number | undefined;
    let last = 0;
    const follow = () => {
      timer = undefined;
      last = Date.now();
      setSeen(version());
    };
    const unsubscribe = subscribe(() => {
      if (timer !== undefined) return;
      timer = window.setTimeout(follow, Math.max(0, last + millis - Date.now()));
    });
    follow();
    return () => {
      unsubscribe();
      window.clearTimeout(timer);
    };
  }, [subscribe, version, millis]);
  return seen;
}
