"use client";
import { useQuery, type UseQueryResult } from "@tanstack/react-query";
import { getJson } from "@/api/client";
import type { GetStorageUsageResponseJson } from "@/gen/gohub/v1/query_pb";

export function useStorageUsage(): UseQueryResult<GetStorageUsageResponseJson> {
  return useQuery({
    queryKey: ["storage"],
    queryFn: ({ signal }) => getJson<GetStorageUsageResponseJson>("/api/v1/storage", signal),
    refetchInterval: 60_000, // the server does not look more often
  });
}
