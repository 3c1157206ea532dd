// Stretches of time whose samples a host took, or should have taken, and lost for good. A chart marks them, for there a
// gap is no sign that the host was down.
import type { GapJson, GapReasonJson } from "@/gen/gohub/v1/ingest_pb";
import { orZero } from "@/lib/json";

export type Loss = {
  /** Unix seconds of the first and the last sample that is lost. */
  from: number;
  to: number;
  reason: string;
  /** 0 if that can not be told. */
  samples: number;
};

const reasons: Record<GapReasonJson, string> = {
  GAP_REASON_UNSPECIFIED: "for a reason that is not known",
  GAP_REASON_SPOOL_FULL: "because the agent's spool was full while the server was away",
  GAP_REASON_SPOOL_DAMAGED: "because a part of the agent's spool could not be read back",
  GAP_REASON_REFUSED: "because the server refused them, and the agent gave them up",
};

export function readLoss(gap: GapJson): Loss {
  return {
    from: orZero(gap.fromUnixMillis) / 1000,
    to: orZero(gap.toUnixMillis) / 1000,
    // A newer server may know more reasons than this page.
    reason: reasons[gap.reason ?? "GAP_REASON_UNSPECIFIED"] ?? reasons.GAP_REASON_UNSPECIFIED,
    samples: orZero(gap.samples),
  };
}
