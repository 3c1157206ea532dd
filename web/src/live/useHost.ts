"use client";
import { useCallback, useSyncExternalStore } from "react";
import type { HostJson } from "@/gen/gohub/v1/query_pb";
import type { HostStore, Trace } from "@/live/hosts";

/** One host of a store; renders again when that host changes, and only then. */
export function useHost(store: HostStore, id: number): HostJson | undefined {
  const subscribe = useCallback((listener: () => void) => store.subscribeHost(id, listener), [store, id]);
  return useSyncExternalStore(
    subscribe,
    () => store.get(id),
    () => undefined,
  );
}

export function useTrace(store: HostStore, id: number): Trace | undefined {
  const subscribe = useCallback((listener: () => void) => store.subscribeHost(id, listener), [store, id]);
  return useSyncExternalStore(
    subscribe,
    () => store.traceOf(id),
    () => undefined,
  );
}
