"use client";
import { useEffect } from "react";
import { isFiring } from "@/lib/alerts";
import { useAlerts } from "@/queries/useAlerts";
import styles from "./AlertBadge.module.css";

const counter = /^\(\d+\) /;

/** How many alerts fire, in the navigation and in the tab's title. */
export function AlertBadge() {
  const alerts = useAlerts();
  const firing = alerts.data?.filter(isFiring).length ?? 0;

  useEffect(() => {
    const mark = () => {
      const bare = document.title.replace(counter, "");
      const title = firing > 0 ? `(${firing}) ${bare}` : bare;
      if (title !== document.title) document.title = title;
    };
    mark();
    // Every page sets a title of its own.
    const observer = new MutationObserver(mark);
    observer.observe(document.head, { childList: true, characterData: true, subtree: true });
    return () => {
      observer.disconnect();
    };
  }, [firing]);

  return (
    <span className={styles.badge} data-testid="alert-badge" data-some={firing > 0} aria-label={`${firing} firing`}>
      {firing}
    </span>
  );
}
