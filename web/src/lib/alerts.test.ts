import { describe, expect, it } from "vitest";
import type { AlertJson, AlertStateJson } from "@/gen/gohub/v1/alert_pb";
import { alertChanges, firingByHost, withState } from "@/lib/alerts";

function alert(id: string, state: AlertStateJson, more: Partial<AlertJson> = {}): AlertJson {
  return { id, rule: id, state, hostId: 1, ...more };
}

describe("alertChanges", () => {
  it("tells what began to fire", () => {
    const pending = alert("a", "ALERT_STATE_PENDING");
    const firing = alert("a", "ALERT_STATE_FIRING");
    expect(alertChanges([pending], [firing])).toEqual([{ kind: "fired", alert: firing }]);
  });

  it("tells what was resolved", () => {
    const resolved = alert("a", "ALERT_STATE_RESOLVED");
    expect(alertChanges([alert("a", "ALERT_STATE_FIRING")], [resolved])).toEqual([{ kind: "resolved", alert: resolved }]);
  });

  it("takes an alert that is gone for resolved", () => {
    const firing = alert("a", "ALERT_STATE_FIRING");
    expect(alertChanges([firing], [])).toEqual([{ kind: "resolved", alert: firing }]);
  });

  it("is silent about what stays, and about what only is pending", () => {
    const firing = alert("a", "ALERT_STATE_FIRING");
    expect(alertChanges([firing], [firing, alert("b", "ALERT_STATE_PENDING")])).toEqual([]);
  });
});

it("counts firing alerts by host", () => {
  const counts = firingByHost([
    alert("a", "ALERT_STATE_FIRING"),
    alert("b", "ALERT_STATE_FIRING"),
    alert("c", "ALERT_STATE_PENDING", { hostId: 2 }),
  ]);
  expect([...counts]).toEqual([[1, 2]]);
});

it("lists a state's alerts, the newest first", () => {
  const old = alert("a", "ALERT_STATE_FIRING", { firedAt: "2026-01-01T00:00:00Z" });
  const fresh = alert("b", "ALERT_STATE_FIRING", { firedAt: "2026-01-02T00:00:00Z" });
  expect(withState([old, fresh, alert("c", "ALERT_STATE_RESOLVED")], "ALERT_STATE_FIRING")).toEqual([fresh, old]);
});
