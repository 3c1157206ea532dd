"use client";
import { Notice } from "@/components/ui/Notice";
import type { HostJson } from "@/gen/gohub/v1/query_pb";
import { clonedAt } from "@/lib/fleet";
import { formatAgo } from "@/lib/format";
import { useNow } from "@/lib/useNow";

/** Says that two machines send as this host, and what to do; nothing where that is not so, or over. */
export function CloneNotice({ host }: { host: HostJson }) {
  const now = useNow();
  const seen = clonedAt(host, now);
  if (seen === undefined) return null;
  return (
    <Notice title="Two machines send as this host" tone="error">
      One is a copy of the other, and what is shown is now of this one, now of that; seen {formatAgo(now - seen)}. Stop the agent on the copy, delete its
      state directory, and start it.
    </Notice>
  );
}
