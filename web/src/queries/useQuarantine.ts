"use client";
import { useQuery, type UseQueryResult } from "@tanstack/react-query";
import { getJson } from "@/api/client";
import type { ListQuarantineResponseJson, QuarantinedSampleJson } from "@/gen/gohub/v1/query_pb";

const REFETCH_MILLIS = 60_000;

/** How many refused samples are asked for: enough to see what is wrong. */
export const QUARANTINE_LIMIT = 50;

/** The newest samples of a host that were refused, with the reason. */
export function useQuarantine(hostId: number): UseQueryResult<QuarantinedSampleJson[]> {
  return useQuery({
    queryKey: ["quarantine", hostId],
    queryFn: async ({ signal }) => {
      const path = `/api/v1/quarantine?hostId=${hostId}&limit=${QUARANTINE_LIMIT}`;
      return (await getJson<ListQuarantineResponseJson>(path, signal)).samples ?? [];
    },
    refetchInterval: REFETCH_MILLIS,
  });
}
