"use client";
import { useState, type ReactNode } from "react";
import styles from "@/components/host/HostCharts.module.css";

// As many as there are colours to tell them apart.
const LIMIT = 8;

/** A host may have hundreds of interfaces; the busiest are drawn, and the rest on request. */
export function useLineLimit(): { limit: number; more: (hidden: number, what: string) => ReactNode } {
  const [all, setAll] = useState(false);
  const more = (hidden: number, what: string) => {
    if (!all && hidden <= 0) return null;
    return (
      <button
        type="button"
        className={styles.more}
        onClick={() => {
          setAll(!all);
        }}
      >
        {all ? `Only the ${LIMIT} busiest` : `Show ${hidden} more ${what}`}
      </button>
    );
  };
  return { limit: all ? Number.POSITIVE_INFINITY : LIMIT, more };
}
