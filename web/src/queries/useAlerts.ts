"use client";
import { useQuery, type UseQueryResult } from "@tanstack/react-query";
import { getJson } from "@/api/client";
import type { AlertJson, ListAlertsResponseJson } from "@/gen/gohub/v1/alert_pb";

export const alertsKey = ["alerts"] as const;

// Alerts come over the live connection as they change; this is for the time without one.
const REFETCH_MILLIS = 30_000;

export function useAlerts(): UseQueryResult<AlertJson[]> {
  return useQuery({
    queryKey: alertsKey,
    queryFn: async ({ signal }) => (await getJson<ListAlertsResponseJson>("/api/v1/alerts", signal)).alerts ?? [],
    refetchInterval: REFETCH_MILLIS,
  });
}
