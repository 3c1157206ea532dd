"use client";
import { useMutation, type UseMutationResult } from "@tanstack/react-query";
import { putJson } from "@/api/client";
import type { SetHostLabelsResponseJson } from "@/gen/gohub/v1/query_pb";
import type { Labels } from "@/lib/labels";

/** Replaces the labels that the server gives a host. The page learns of it as it does of values, from the live connection. */
export function useSetLabels(hostId: number): UseMutationResult<SetHostLabelsResponseJson, Error, Labels> {
  return useMutation({
    mutationFn: (labels) => putJson<SetHostLabelsResponseJson>(`/api/v1/hosts/${hostId}/labels`, { labels }),
  });
}
