// Axis splits that fall on round numbers of the unit: powers of 1,024 for bytes, of 10 for the rest.
import type { UnitJson } from "@/gen/gohub/v1/metric_pb";

const binaryUnits: ReadonlySet<UnitJson> = new Set(["UNIT_BYTES", "UNIT_BYTES_PER_SECOND"]);

export function isBinary(unit: UnitJson): boolean {
  return binaryUnits.has(unit);
}

/** Distances that an axis may have between its lines, smallest first. */
export function axisIncrements(unit: UnitJson): number[] {
  const base = isBinary(unit) ? 1024 : 1000;
  const steps = isBinary(unit)
    ? [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]
    : [1, 2, 5, 10, 20, 25, 50, 100, 200, 250, 500];
  const increments: number[] = isBinary(unit) ? [] : [0.01, 0.02, 0.05, 0.1, 0.2, 0.5];
  for (let power = 0; power < 7; power++) {
    for (const step of steps) increments.push(step * base ** power);
  }
  return increments;
}
