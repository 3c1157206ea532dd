"use client";
import { useCallback } from "react";

type Params = Record<string, string | null>;

/**
 * Changes parameters of the present URL without loading anything; useSearchParams follows. "push" for what Back should
 * undo, "replace" for the rest.
 */
export function useSetParams(): (params: Params, how: "push" | "replace") => void {
  return useCallback((params, how) => {
    const url = new URL(window.location.href);
    for (const [name, value] of Object.entries(params)) {
      if (value === null) url.searchParams.delete(name);
      else url.searchParams.set(name, value);
    }
    if (url.href === window.location.href) return;
    if (how === "push") window.history.pushState(null, "", url);
    else window.history.replaceState(null, "", url);
  }, []);
}
