import { expect, it } from "vitest";
import { safeNext } from "@/lib/next";

it.each(["/", "/host/?id=3&range=6h", "/alerts/"])("goes back to %s", (path) => {
  expect(safeNext(path)).toBe(path);
});

it.each([null, "", "//evil.example", "/\\evil.example", "https://evil.example/", "javascript:alert(1)", "alerts", "/login/?next=/"])(
  "does not go to %s",
  (path) => {
    expect(safeNext(path)).toBe("/");
  },
);
