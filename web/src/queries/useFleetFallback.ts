"use client";
import { useQuery, type UseQueryResult } from "@tanstack/react-query";
import { getJson } from "@/api/client";
import type { HostJson, ListHostsResponseJson } from "@/gen/gohub/v1/query_pb";

const REFETCH_MILLIS = 15_000;

/** All hosts over REST, for networks whose proxies let no WebSocket through. */
export function useFleetFallback(enabled: boolean): UseQueryResult<HostJson[]> {
  return useQuery({
    queryKey: ["hosts"],
    queryFn: async ({ signal }) => (await getJson<ListHostsResponseJson>("/api/v1/hosts", signal)).hosts ?? [],
    enabled,
    refetchInterval: enabled ? REFETCH_MILLIS : false,
  });
}
