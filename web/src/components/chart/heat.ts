// Draws each column as a strip of cells whose colour is the value: many cores at a glance, where lines would tangle.
import type uPlot from "uplot";
import { blend, type Palette } from "@/components/chart/colours";

// One cell for two hundredths is as fine as an eye sees.
const SHADES = 50;

export function heatPlugin(colour: Palette, labels: string[]): uPlot.Plugin {
  const stops: [string, string, string] = [colour("--heat-low"), colour("--heat-mid"), colour("--heat-high")];
  const shades = Array.from({ length: SHADES + 1 }, (_, index) => blend(stops, index / SHADES));
  return {
    hooks: {
      draw: (u) => {
        drawCells(u, shades);
        drawLabels(u, labels, colour("--muted"));
      },
    },
  };
}

// Strips that are labelled at most, evenly spread.
const MAX_LABELS = 8;

function drawLabels(u: uPlot, labels: string[], colour: string): void {
  const { left, top, height } = u.bbox;
  const strip = height / Math.max(1, labels.length);
  const every = Math.ceil(labels.length / MAX_LABELS);
  u.ctx.save();
  u.ctx.fillStyle = colour;
  u.ctx.font = `${11 * devicePixelRatio}px ${getComputedStyle(document.body).fontFamily}`;
  u.ctx.textAlign = "right";
  u.ctx.textBaseline = "middle";
  labels.forEach((label, row) => {
    if (row % every === 0) u.ctx.fillText(label, left - 8 * devicePixelRatio, top + (row + 0.5) * strip);
  });
  u.ctx.restore();
}

/** The usual distance between two times; a hole is wider, and stays one. */
function typicalWidth(times: ArrayLike<number>): number {
  const widths: number[] = [];
  for (let index = 1; index < times.length; index++) widths.push((times[index] ?? 0) - (times[index - 1] ?? 0));
  widths.sort((a, b) => a - b);
  return widths[Math.floor(widths.length / 2)] ?? 1;
}

function drawCells(u: uPlot, shades: string[]): void {
  const [times, ...columns] = u.data;
  const { left, top, width, height } = u.bbox;
  const strip = height / Math.max(1, columns.length);
  const seconds = typicalWidth(times);
  // Strips stand apart while there is room.
  const space = strip > 6 * devicePixelRatio ? devicePixelRatio : 0;
  u.ctx.save();
  u.ctx.beginPath();
  u.ctx.rect(left, top, width, height);
  u.ctx.clip();
  for (let index = 0; index < times.length; index++) {
    const time = times[index] ?? 0;
    const x = Math.floor(u.valToPos(time, "x", true));
    const next = Math.ceil(u.valToPos(time + seconds, "x", true));
    if (next < left || x > left + width) continue;
    columns.forEach((column, row) => {
      const value = column[index];
      if (value === null || value === undefined) return;
      const share = Math.min(1, Math.max(0, value / 100));
      u.ctx.fillStyle = shades[Math.round(share * (shades.length - 1))] ?? "gray";
      u.ctx.fillRect(x, top + row * strip, next - x, strip - space);
    });
  }
  u.ctx.restore();
}
