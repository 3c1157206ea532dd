"use client";
import { useQuery, type UseQueryResult } from "@tanstack/react-query";
import { getJson } from "@/api/client";
import type { ListHostsResponseJson } from "@/gen/gohub/v1/query_pb";
import { isSelector } from "@/lib/labels";
import { orZero } from "@/lib/json";

const REFETCH_MILLIS = 30_000;

/** The ids of the hosts that a selector picks, as the server reads it; undefined for a text that is none. */
export function useSelected(text: string): UseQueryResult<ReadonlySet<number>> {
  return useQuery({
    queryKey: ["selected", text],
    queryFn: async ({ signal }) => {
      const params = new URLSearchParams({ selector: text });
      const answer = await getJson<ListHostsResponseJson>(`/api/v1/hosts?${params.toString()}`, signal);
      return new Set((answer.hosts ?? []).map((host) => orZero(host.hostId)));
    },
    enabled: isSelector(text),
    retry: false,
    refetchInterval: REFETCH_MILLIS,
    // While the next letter is typed, the list stays as it was.
    placeholderData: (previous) => previous,
  });
}
