// Labels of hosts as text, site=ams, role=db, and back.
import type { HostJson } from "@/gen/gohub/v1/query_pb";

export type Labels = Record<string, string>;

export function labelText(labels: Labels): string {
  return Object.keys(labels)
    .sort()
    .map((name) => `${name}=${labels[name] ?? ""}`)
    .join(", ");
}

/** Reads what a person typed; the server says what a name and a value may be. A string is what is wrong. */
export function parseLabels(text: string): Labels | string {
  const labels: Labels = {};
  for (const part of text.split(",")) {
    if (part.trim() === "") continue;
    const at = part.indexOf("=");
    if (at < 1) return `“${part.trim()}” is no label; write name=value, separated by commas`;
    const name = part.slice(0, at).trim();
    if (Object.hasOwn(labels, name)) return `${name} is given twice`;
    labels[name] = part.slice(at + 1).trim();
  }
  return labels;
}

export type Chip = { name: string; value: string; fromServer: boolean };

export function chipsOf(host: HostJson): Chip[] {
  const labels = host.labels ?? {};
  return Object.keys(labels)
    .sort()
    .map((name) => ({ name, value: labels[name] ?? "", fromServer: Object.hasOwn(host.serverLabels ?? {}, name) }));
}

/** The selector of all hosts with this label. */
export function selectorOf(name: string, value: string): string {
  return `${name}="${value.replace(/\\/g, "\\\\").replace(/"/g, '\\"')}"`;
}

/** Whether a filter's text is a selector, and not words to look for. */
export function isSelector(text: string): boolean {
  return /^\s*(\{|[A-Za-z_]\w*\s*(=|!=|!~))/.test(text);
}
