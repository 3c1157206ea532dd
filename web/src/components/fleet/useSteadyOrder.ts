"use client";
import { useCallback, useState } from "react";
import type { FleetView } from "@/lib/fleet";

function sameHosts(a: number[], b: number[]): boolean {
  if (a.length !== b.length) return false;
  const members = new Set(a);
  return b.every((id) => members.has(id));
}

/**
 * Keeps rows in place while the mouse is over them: a row must not run away from a click. New hosts, hosts that left and
 * another way to sort still show at once.
 */
export function useSteadyOrder(ids: number[], view: FleetView): { order: number[]; hold: (event: { pointerType: string }) => void; release: () => void } {
  const [held, setHeld] = useState<{ ids: number[]; view: FleetView } | null>(null);
  const hold = useCallback(
    (event: { pointerType: string }) => {
      if (event.pointerType === "touch") return;
      setHeld({ ids, view });
    },
    [ids, view],
  );
  const release = useCallback(() => {
    setHeld(null);
  }, []);
  const steady = held !== null && held.view === view && sameHosts(held.ids, ids);
  return { order: steady ? held.ids : ids, hold, release };
}
