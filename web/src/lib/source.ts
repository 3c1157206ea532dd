// In words, what a point of a chart is and where it was read.
import { formatDuration } from "@/lib/format";

const names: Record<string, string> = {
  raw: "the samples themselves",
  "1m": "rollups of a minute",
  "1h": "rollups of an hour",
  "1d": "rollups of a day",
};

/** Of "1h+1m+raw+memory", an answer's source. Each resolution is named once, the coarsest first. */
export function sourceInWords(source: string): string {
  const order = ["1d", "1h", "1m", "raw"];
  // What is read from memory is the samples too.
  const parts = new Set(source.split("+").map((name) => (name === "memory" ? "raw" : name)));
  const words = order.filter((name) => parts.has(name)).map((name) => names[name] ?? name);
  if (words.length < 2) return words[0] ?? "";
  return `${words.slice(0, -1).join(", ")} and, for the newest, ${words.at(-1) ?? ""}`;
}

export function pointInWords(seconds: number, source: string): string {
  const read = sourceInWords(source);
  if (seconds <= 0 || read === "") return "";
  return `A point is ${formatDuration(seconds)}, from ${read}. Shades show the lowest and the highest value.`;
}
