"use client";
import { useQuery, type UseQueryResult } from "@tanstack/react-query";
import { getJson } from "@/api/client";
import type { GetServerInfoResponseJson } from "@/gen/gohub/v1/query_pb";

export function useServerInfo(): UseQueryResult<GetServerInfoResponseJson> {
  return useQuery({
    queryKey: ["info"],
    queryFn: ({ signal }) => getJson<GetServerInfoResponseJson>("/api/v1/info", signal),
    staleTime: 600_000,
  });
}
