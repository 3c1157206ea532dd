import { describe, expect, it } from "vitest";
import { customSeriesOf, formatCustom, labelText, parseLabels, unitOfName } from "@/lib/custom";

describe("parseLabels", () => {
  it("reads what the agent writes", () => {
    expect(parseLabels("")).toEqual({});
    expect(parseLabels('{device="sda",side="left"}')).toEqual({ device: "sda", side: "left" });
    expect(parseLabels('{a="\\\\n\\"\\n}",b=",c=\\"x\\""}')).toEqual({ a: '\\n"\n}', b: ',c="x"' });
  });

  it("does not fail on anything else", () => {
    for (const text of ["{", '{a="', '{a="\\', "x", '{="1"}']) expect(parseLabels(text)).toEqual({});
  });
});

describe("customSeriesOf", () => {
  it("sorts by name and labels, and the agent's own last", () => {
    const instance = (name: string, labels: string, value: number) => ({ family: "custom", labels: { name, labels }, values: { custom_value: value } });
    const series = customSeriesOf({
      latest: {
        instances: [
          instance("gohub_custom_series", "", 3),
          instance("queue", '{q="b"}', 1),
          instance("queue", '{q="a"}', 2),
          instance("age", "", 5),
          { family: "disk", labels: { device: "sda" }, values: { disk_busy_percent: 1 } },
        ],
      },
    });
    expect(series.map(({ name, labels, value }) => `${name} ${labelText(labels)} ${value?.toString() ?? ""}`)).toEqual([
      "age  5",
      "queue q=a 2",
      "queue q=b 1",
      "gohub_custom_series  3",
    ]);
  });
});

describe("unitOfName", () => {
  it("knows the units that values are shown by", () => {
    expect(unitOfName("heap_bytes")).toBe("UNIT_BYTES");
    expect(unitOfName("water_celsius")).toBe("UNIT_CELSIUS");
    expect(unitOfName("last_success_seconds")).toBe("UNIT_NONE");
  });
});

describe("formatCustom", () => {
  it("shows times as times", () => {
    expect(formatCustom("last_success_seconds", 1_795_420_000)).toMatch(/2026/);
    expect(formatCustom("age_seconds", 90)).toBe("90");
    expect(formatCustom("heap_bytes", 2048)).toBe("2.00 KiB");
    expect(formatCustom("queue", undefined)).toBe("–");
  });
});
