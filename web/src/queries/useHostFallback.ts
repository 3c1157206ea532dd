"use client";
import { useQuery, type UseQueryResult } from "@tanstack/react-query";
import { getJson } from "@/api/client";
import type { GetHostResponseJson, HostJson } from "@/gen/gohub/v1/query_pb";

const REFETCH_MILLIS = 10_000;

/** One host over REST: tells a host that does not exist from one whose live values are late. */
export function useHostFallback(hostId: number, repeat: boolean): UseQueryResult<HostJson | null> {
  return useQuery({
    queryKey: ["host", hostId],
    queryFn: async ({ signal }) => (await getJson<GetHostResponseJson>(`/api/v1/hosts/${hostId}`, signal)).host ?? null,
    refetchInterval: repeat ? REFETCH_MILLIS : false,
  });
}
