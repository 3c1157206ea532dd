import { describe, expect, it } from "vitest";
import { pointInWords, sourceInWords } from "@/lib/source";

describe("sourceInWords", () => {
  it("names one resolution", () => {
    expect(sourceInWords("raw")).toBe("the samples themselves");
  });
  it("names each once, the coarsest first", () => {
    expect(sourceInWords("1m+1h+1m+raw")).toBe("rollups of an hour, rollups of a minute and, for the newest, the samples themselves");
  });
  it("takes memory for the samples that it has", () => {
    expect(sourceInWords("memory")).toBe("the samples themselves");
    expect(sourceInWords("1m+raw+memory")).toBe(sourceInWords("1m+raw"));
  });
  it("says nothing of what it does not know", () => {
    expect(sourceInWords("")).toBe("");
    expect(pointInWords(60, "")).toBe("");
    expect(pointInWords(0, "raw")).toBe("");
  });
});

describe("pointInWords", () => {
  it("tells a point's width", () => {
    expect(pointInWords(3600, "1h+raw")).toMatch(/^A point is 1 ?h/);
  });
});
