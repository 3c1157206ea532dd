// A canvas knows no custom properties, so the theme's colours are read from the document.

export type Palette = (name: string) => string;

export function readPalette(element: HTMLElement): Palette {
  const probe = document.createElement("span");
  probe.hidden = true;
  element.append(probe);
  const known = new Map<string, string>();
  const names = ["--grid", "--muted", "--text", "--surface", "--accent", "--warn", "--heat-low", "--heat-mid", "--heat-high"];
  for (let index = 1; index <= 8; index++) names.push(`--series-${index}`);
  for (const name of names) {
    probe.style.color = `var(${name})`;
    known.set(name, getComputedStyle(probe).color);
  }
  probe.remove();
  return (name) => known.get(name) ?? "gray";
}

function channels(colour: string): [number, number, number] {
  const [red = 0, green = 0, blue = 0] = (colour.match(/[\d.]+/g) ?? []).map(Number);
  return [red, green, blue];
}

export function withAlpha(colour: string, alpha: number): string {
  return `rgba(${channels(colour).join(", ")}, ${alpha})`;
}

/** A colour between three, share from 0 to 1. */
export function blend(stops: [string, string, string], share: number): string {
  const [low, middle, high] = stops.map(channels) as [[number, number, number], [number, number, number], [number, number, number]];
  const [from, to, part] = share < 0.5 ? [low, middle, share * 2] : [middle, high, share * 2 - 1];
  const mixed = from.map((value, index) => Math.round(value + ((to[index] ?? value) - value) * part));
  return `rgb(${mixed.join(", ")})`;
}
