import { expect, it } from "vitest";
import type { GapReasonJson } from "@/gen/gohub/v1/ingest_pb";
import { readLoss } from "@/lib/losses";

it("reads 64-bit times that come as strings", () => {
  const loss = readLoss({ fromUnixMillis: "1763000000000", toUnixMillis: "1763000060500", reason: "GAP_REASON_SPOOL_FULL", samples: 6 });
  expect(loss).toMatchObject({ from: 1_763_000_000, to: 1_763_000_060.5, samples: 6 });
  expect(loss.reason).toContain("spool was full");
});

it("has words for a reason that it does not know", () => {
  expect(readLoss({}).reason).toContain("not known");
  expect(readLoss({ reason: "GAP_REASON_LATER" as GapReasonJson }).reason).toContain("not known");
});
