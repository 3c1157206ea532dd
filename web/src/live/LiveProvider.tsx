"use client";
// Holds the one live connection of the dashboard and the stores that it fills.
import { useQueryClient, type QueryClient } from "@tanstack/react-query";
import { createContext, useContext, useEffect, useState, type ReactNode } from "react";
import { LiveConnection } from "@/live/connection";
import { HostStore } from "@/live/hosts";
import { ReadingLog } from "@/live/readings";
import { alertsKey } from "@/queries/useAlerts";
import { rangeKey } from "@/queries/useRange";
import { sessionKey } from "@/queries/useSession";

export type Live = {
  connection: LiveConnection;
  /** Every host with its host-level values. */
  fleet: HostStore;
  /** The host whose page is open, with everything. */
  detail: HostStore;
  readings: ReadingLog;
};

const LiveContext = createContext<Live | null>(null);

function liveUrl(): string {
  const url = new URL("/api/v1/live", window.location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return url.href;
}

// From the second refusal in a row it may be the session that ended.
const SUSPICIOUS_ATTEMPT = 1;

function createLive(queries: QueryClient): Live {
  const fleet = new HostStore("cpu_usage_percent");
  const detail = new HostStore("cpu_usage_percent");
  const readings = new ReadingLog();
  let openHost: number | null = null;
  const connection = new LiveConnection(liveUrl(), {
    onSnapshot: (topic, hosts) => {
      if (topic.kind === "fleet") {
        fleet.replace(hosts);
        return;
      }
      if (openHost === topic.hostId) {
        // A second snapshot follows an interruption: what was missed is in the store by now.
        void queries.invalidateQueries({ queryKey: rangeKey(topic.hostId) });
      } else {
        readings.clear();
        openHost = topic.hostId;
      }
      detail.replace(hosts);
      readings.add(hosts[0]?.latest);
    },
    onDelta: (topic, hosts) => {
      if (topic.kind === "fleet") {
        fleet.update(hosts);
        return;
      }
      detail.update(hosts);
      readings.add(hosts[0]?.latest);
    },
    onAlerts: (alerts) => {
      queries.setQueryData(alertsKey, alerts.alerts ?? []);
    },
    onRefused: (attempt) => {
      if (attempt >= SUSPICIOUS_ATTEMPT) void queries.invalidateQueries({ queryKey: sessionKey });
    },
  });
  return { connection, fleet, detail, readings };
}

export function LiveProvider({ children }: { children: ReactNode }) {
  const queries = useQueryClient();
  const [live] = useState(() => createLive(queries));
  useEffect(() => {
    live.connection.start();
    return () => {
      live.connection.stop();
    };
  }, [live]);
  return <LiveContext value={live}>{children}</LiveContext>;
}

export function useLive(): Live {
  const live = useContext(LiveContext);
  if (!live) throw new Error("useLive outside of LiveProvider");
  return live;
}
