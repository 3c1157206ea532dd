"use client";
import { useQueryClient } from "@tanstack/react-query";
import { useCallback, useEffect, useState } from "react";
import type { AlertJson } from "@/gen/gohub/v1/alert_pb";
import { alertChanges, type AlertChange } from "@/lib/alerts";
import { alertsKey } from "@/queries/useAlerts";

export type ShownChange = { key: string; change: AlertChange };

// A rack that goes down must not paper over the page; the alerts page has the rest.
const MAX_SHOWN = 4;

/** Compares every new list of alerts with the one before. The first list is the state of things, not news. */
export function useAlertChanges(): { shown: ShownChange[]; dismiss: (key: string) => void } {
  const queries = useQueryClient();
  const [shown, setShown] = useState<ShownChange[]>([]);

  useEffect(() => {
    let before = queries.getQueryData<AlertJson[]>(alertsKey);
    let count = 0;
    return queries.getQueryCache().subscribe((event) => {
      if (event.type !== "updated" || event.action.type !== "success" || event.query.queryKey[0] !== alertsKey[0]) return;
      const after = queries.getQueryData<AlertJson[]>(alertsKey) ?? [];
      const changes = before ? alertChanges(before, after) : [];
      before = after;
      if (changes.length === 0) return;
      const news = changes.map((change) => ({ key: `${count++}`, change }));
      setShown((present) => {
        // A newer word on an alert replaces the older one.
        const ids = new Set(news.map(({ change }) => change.alert.id));
        return [...present.filter(({ change }) => !ids.has(change.alert.id)), ...news].slice(-MAX_SHOWN);
      });
    });
  }, [queries]);

  const dismiss = useCallback((key: string) => {
    setShown((present) => present.filter((entry) => entry.key !== key));
  }, []);
  return { shown, dismiss };
}
