"use client";
import { useQuery, type UseQueryResult } from "@tanstack/react-query";
import { getJson } from "@/api/client";
import type { OpenApi } from "@/lib/openapi";

export function useOpenApi(): UseQueryResult<OpenApi> {
  return useQuery({
    queryKey: ["openapi"],
    queryFn: ({ signal }) => getJson<OpenApi>("/api/v1/openapi.json", signal),
    staleTime: Number.POSITIVE_INFINITY,
  });
}
