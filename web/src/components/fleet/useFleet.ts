"use client";
import { useCallback, useEffect, useMemo, useSyncExternalStore } from "react";
import { firingByHost } from "@/lib/alerts";
import { isSelector } from "@/lib/labels";
import { countHosts, selectHosts, type FiringByHost, type FleetCounts, type FleetView } from "@/lib/fleet";
import { useLive } from "@/live/LiveProvider";
import { useLate } from "@/live/useLate";
import { useLiveState } from "@/live/useLiveState";
import { useThrottledVersion } from "@/live/useThrottled";
import { useAlerts } from "@/queries/useAlerts";
import { useFleetFallback } from "@/queries/useFleetFallback";
import { useSelected } from "@/queries/useSelected";

// Rows that change places more often than this can not be read.
const REORDER_MILLIS = 2_000;

export type Fleet = {
  loaded: boolean;
  ids: number[];
  counts: FleetCounts;
  firing: FiringByHost;
  /** Why the selector that was typed can not be read. */
  problem: string | null;
};

const nothing: ReadonlySet<number> = new Set();

/** The list in the order of the view. Values are not in it: each row follows its own host. */
export function useFleet(view: FleetView): Fleet {
  const { fleet, connection } = useLive();
  const live = useLiveState();
  const alerts = useAlerts();

  const late = useLate();
  const fallback = useFleetFallback(late);
  useEffect(() => {
    if (!late || !fallback.data) return;
    fleet.replace(fallback.data);
    connection.filled(fallback.dataUpdatedAt);
  }, [fleet, connection, late, fallback.data, fallback.dataUpdatedAt]);

  const subscribe = useCallback((listener: () => void) => fleet.subscribeFleet(listener), [fleet]);
  const readVersion = useCallback(() => fleet.version, [fleet]);
  const version = useThrottledVersion(subscribe, readVersion, REORDER_MILLIS);

  // Hosts that come or go show at once, the first ones above all.
  const size = useSyncExternalStore(
    subscribe,
    () => fleet.size,
    () => 0,
  );

  const selection = useSelected(view.text);
  const isSelection = isSelector(view.text);
  // Until the first answer the list stays empty, as it would for words that no host has.
  const selected = isSelection ? (selection.data ?? nothing) : undefined;

  const firing = useMemo(() => firingByHost(alerts.data ?? []), [alerts.data]);
  const { ids, counts } = useMemo(() => {
    // The store changes in place; its version says when to look again.
    void [version, size];
    const hosts = fleet.all();
    return { ids: selectHosts(hosts, view, firing, selected), counts: countHosts(hosts, firing) };
  }, [fleet, version, size, view, firing, selected]);

  const loaded = counts.all > 0 || live.state === "live" || fallback.data !== undefined;
  return { loaded, ids, counts, firing, problem: isSelection && selection.error ? selection.error.message : null };
}
