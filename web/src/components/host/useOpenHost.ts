"use client";
import { useEffect } from "react";
import { ApiError } from "@/api/client";
import type { HostJson } from "@/gen/gohub/v1/query_pb";
import { useLate } from "@/live/useLate";
import { useLive } from "@/live/LiveProvider";
import { useHost } from "@/live/useHost";
import { useHostTopic } from "@/live/useTopic";
import { useHostFallback } from "@/queries/useHostFallback";

export type OpenHost = {
  host: HostJson | undefined;
  /** The server knows no such host. */
  missing: boolean;
  error: Error | null;
};

/** The host's newest state: live, until that comes over REST, and until that comes what the list knew. */
export function useOpenHost(hostId: number): OpenHost {
  useHostTopic(hostId);
  const { detail, fleet, connection } = useLive();
  const late = useLate();
  const live = useHost(detail, hostId);
  const listed = useHost(fleet, hostId);
  const stored = useHostFallback(hostId, late);
  const { data, dataUpdatedAt } = stored;
  useEffect(() => {
    if (!late || !data) return;
    detail.replace([data]);
    connection.filled(dataUpdatedAt);
  }, [late, data, dataUpdatedAt, detail, connection]);
  const host = live ?? data ?? listed;
  const missing = live === undefined && (data === null || (stored.error instanceof ApiError && stored.error.status === 404));
  return { host, missing, error: stored.error };
}
