"use client";
import { useSyncExternalStore } from "react";
import { resolvedTheme, subscribeTheme, themeChoice, type ThemeChoice } from "@/lib/theme";

export function useThemeChoice(): ThemeChoice {
  return useSyncExternalStore(subscribeTheme, themeChoice, () => "system");
}

/** The theme that is shown, for what CSS can not colour: canvases. */
export function useResolvedTheme(): "light" | "dark" {
  return useSyncExternalStore(subscribeTheme, resolvedTheme, () => "light");
}
