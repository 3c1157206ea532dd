import type { HostStatusJson } from "@/gen/gohub/v1/query_pb";
import styles from "./StatusMark.module.css";

export type StatusKind = "up" | "late" | "down" | "unknown";

export function statusKind(status: HostStatusJson | undefined): StatusKind {
  if (status === "HOST_STATUS_UP") return "up";
  if (status === "HOST_STATUS_LATE") return "late";
  if (status === "HOST_STATUS_DOWN") return "down";
  return "unknown";
}

const shapes: Record<StatusKind, string> = {
  // A disc, a triangle, a cross, a ring: told apart without colour.
  up: "M6 1.5a4.5 4.5 0 1 1 0 9 4.5 4.5 0 0 1 0-9z",
  late: "M6 1.4l5 9.2H1z",
  down: "M2 2l8 8M10 2l-8 8",
  unknown: "M6 2.2a3.8 3.8 0 1 1 0 7.6 3.8 3.8 0 0 1 0-7.6z",
};

/** The shape beside a host's name. `label` for where no text says the same. */
export function StatusMark({ status, label }: { status: StatusKind; label?: string }) {
  return (
    <svg className={styles.mark} data-status={status} width="12" height="12" viewBox="0 0 12 12" role={label === undefined ? undefined : "img"} aria-label={label} aria-hidden={label === undefined}>
      <path d={shapes[status]} />
    </svg>
  );
}
