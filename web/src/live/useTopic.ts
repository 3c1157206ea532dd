"use client";
import { useEffect } from "react";
import { useLive } from "@/live/LiveProvider";

/** Subscribes to every host for as long as the page is open, and after it until another page wants something else. */
export function useFleetTopic(): void {
  const { connection } = useLive();
  useEffect(() => {
    connection.want({ kind: "fleet" });
  }, [connection]);
}

export function useHostTopic(hostId: number): void {
  const { connection } = useLive();
  useEffect(() => {
    connection.want({ kind: "host", hostId });
  }, [connection, hostId]);
}
