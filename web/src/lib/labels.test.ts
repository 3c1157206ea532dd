import { describe, expect, it } from "vitest";
import { chipsOf, isSelector, labelText, parseLabels, selectorOf } from "@/lib/labels";

describe("labels as text", () => {
  it("come back as they were", () => {
    const labels = { site: "ams", role: "db", note: "a=b" };
    expect(labelText(labels)).toBe("note=a=b, role=db, site=ams");
    expect(parseLabels(labelText(labels))).toEqual(labels);
    expect(parseLabels(" , ")).toEqual({});
    expect(parseLabels("hidden=")).toEqual({ hidden: "" });
  });
  it("say what is wrong", () => {
    expect(parseLabels("site")).toContain("is no label");
    expect(parseLabels("=x")).toContain("is no label");
    expect(parseLabels("a=1,a=2")).toContain("given twice");
  });
});

describe("selectors", () => {
  it("are told from words", () => {
    for (const text of ['site="ams"', "site=ams", "{os!=linux}", "a !~ b", 'host_id=~"1|2"']) expect(isSelector(text)).toBe(true);
    for (const text of ["web-1", "debian 12", "", "=x", "9=1"]) expect(isSelector(text)).toBe(false);
  });
  it("quote what is hostile", () => {
    expect(selectorOf("note", 'a"b\\c')).toBe('note="a\\"b\\\\c"');
  });
});

describe("chipsOf", () => {
  it("tells whose a label is", () => {
    expect(chipsOf({ labels: { b: "2", a: "1" }, serverLabels: { b: "2", gone: "" } })).toEqual([
      { name: "a", value: "1", fromServer: false },
      { name: "b", value: "2", fromServer: true },
    ]);
    expect(chipsOf({})).toEqual([]);
  });
});
