// Hatches the stretches whose samples were lost, behind the lines.
import type uPlot from "uplot";
import { withAlpha, type Palette } from "@/components/chart/colours";
import type { Loss } from "@/lib/losses";

// Distance of the hatching's lines, and the least width that a loss is drawn with, in CSS pixels.
const HATCH_PIXELS = 7;
const MIN_WIDTH_PIXELS = 3;

export function lossPlugin(colour: Palette, losses: () => Loss[]): uPlot.Plugin {
  const stroke = withAlpha(colour("--warn"), 0.5);
  const fill = withAlpha(colour("--warn"), 0.1);
  return {
    hooks: {
      drawAxes: (u) => {
        for (const loss of losses()) drawLoss(u, loss, stroke, fill);
      },
    },
  };
}

function drawLoss(u: uPlot, loss: Loss, stroke: string, fill: string): void {
  const { left, top, width, height } = u.bbox;
  const start = Math.max(left, u.valToPos(loss.from, "x", true));
  const least = start + MIN_WIDTH_PIXELS * devicePixelRatio;
  const end = Math.min(left + width, Math.max(least, u.valToPos(loss.to, "x", true)));
  if (end <= start) return;
  const { ctx } = u;
  ctx.save();
  ctx.beginPath();
  ctx.rect(start, top, end - start, height);
  ctx.fillStyle = fill;
  ctx.fill();
  ctx.clip();
  ctx.strokeStyle = stroke;
  ctx.lineWidth = devicePixelRatio;
  ctx.beginPath();
  for (let x = start - height; x < end; x += HATCH_PIXELS * devicePixelRatio) {
    ctx.moveTo(x, top + height);
    ctx.lineTo(x + height, top);
  }
  ctx.stroke();
  ctx.restore();
}
