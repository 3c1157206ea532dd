import type { HostFactsJson } from "@/gen/gohub/v1/ingest_pb";

const osNames: Record<string, string> = { linux: "Linux", windows: "Windows", darwin: "macOS" };

/** "Debian 12", "Microsoft Windows 11 Pro", or only "Linux" where no more is known. */
export function systemName(facts: HostFactsJson | undefined): string {
  const platform = facts?.platform ?? "";
  if (platform === "") return osNames[facts?.os ?? ""] ?? facts?.os ?? "unknown system";
  const name = platform.charAt(0).toUpperCase() + platform.slice(1);
  return [name, facts?.platformVersion].filter(Boolean).join(" ");
}
