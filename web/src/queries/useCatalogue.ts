"use client";
import { useQuery } from "@tanstack/react-query";
import { getJson } from "@/api/client";
import type { UnitJson } from "@/gen/gohub/v1/metric_pb";
import type { ListMetricsResponseJson, MetricJson } from "@/gen/gohub/v1/query_pb";

export type Catalogue = {
  unitOf: (metric: string) => UnitJson;
  helpOf: (metric: string) => string;
};

function asCatalogue(metrics: MetricJson[]): Catalogue {
  const byName = new Map(metrics.map((metric) => [metric.name ?? "", metric]));
  return {
    unitOf: (metric) => byName.get(metric)?.unit ?? "UNIT_NONE",
    helpOf: (metric) => byName.get(metric)?.help ?? "",
  };
}

const empty = asCatalogue([]);

/** The metric catalogue; empty until it has come. It changes only with the server's version. */
export function useCatalogue(): Catalogue {
  const query = useQuery({
    queryKey: ["metrics"],
    queryFn: async ({ signal }) => asCatalogue((await getJson<ListMetricsResponseJson>("/api/v1/metrics", signal)).metrics ?? []),
    staleTime: Number.POSITIVE_INFINITY,
  });
  return query.data ?? empty;
}
