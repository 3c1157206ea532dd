"use client";
import { useQuery, type UseQueryResult } from "@tanstack/react-query";
import { getJson } from "@/api/client";
import type { ListRulesResponseJson, RuleJson } from "@/gen/gohub/v1/alert_pb";

export function useRules(): UseQueryResult<RuleJson[]> {
  return useQuery({
    queryKey: ["rules"],
    queryFn: async ({ signal }) => (await getJson<ListRulesResponseJson>("/api/v1/rules", signal)).rules ?? [],
  });
}
