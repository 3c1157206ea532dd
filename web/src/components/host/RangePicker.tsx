"use client";
import { useState } from "react";
import { CustomRange } from "@/components/host/CustomRange";
import type { Bounds } from "@/components/chart/Chart";
import { Icon } from "@/components/ui/Icon";
import { formatDateTime } from "@/lib/format";
import { defaultPreset, presets, type Preset, type TimeRange } from "@/lib/timerange";
import styles from "./RangePicker.module.css";

type RangePickerProps = {
  range: TimeRange;
  bounds: Bounds;
  onChange: (range: TimeRange) => void;
  onZoomOut: () => void;
};

export function RangePicker({ range, bounds, onChange, onZoomOut }: RangePickerProps) {
  const [editing, setEditing] = useState(false);
  const follows = range.kind === "follow";

  /** Live goes with a preset; without it the charts stand still at what they show. */
  const toggleLive = () => {
    onChange(follows ? { kind: "fixed", ...bounds } : { kind: "follow", preset: nearestPreset(bounds) });
  };

  return (
    <div className={styles.bar}>
      <div className={styles.line}>
        <div className={styles.presets} role="group" aria-label="Time range">
          {(Object.keys(presets) as Preset[]).map((preset) => (
            <button
              key={preset}
              type="button"
              className={styles.preset}
              aria-pressed={follows && range.preset === preset}
              onClick={() => {
                setEditing(false);
                onChange({ kind: "follow", preset });
              }}
            >
              {presets[preset].label}
            </button>
          ))}
          <button
            type="button"
            className={styles.preset}
            aria-pressed={!follows}
            aria-expanded={editing}
            onClick={() => {
              setEditing(!editing);
            }}
          >
            Custom
          </button>
        </div>
        <button type="button" className={styles.live} aria-pressed={follows} onClick={toggleLive}>
          <span className={styles.dot} aria-hidden="true" />
          {follows ? "Following" : "Follow"}
        </button>
        <button type="button" className={styles.out} onClick={onZoomOut}>
          <Icon name="out" />
          Zoom out
        </button>
        <p className={styles.text} data-hint={follows}>
          {follows ? "Drag across a chart to zoom in" : `${formatDateTime(bounds.from)} to ${formatDateTime(bounds.to)}`}
        </p>
      </div>
      {editing ? (
        <CustomRange
          bounds={bounds}
          onApply={(from, to) => {
            onChange({ kind: "fixed", from, to });
            setEditing(false);
          }}
        />
      ) : null}
    </div>
  );
}

/** The narrowest preset that is as wide as what is shown. */
function nearestPreset(bounds: Bounds): Preset {
  const width = bounds.to - bounds.from;
  const fitting = (Object.keys(presets) as Preset[]).find((preset) => presets[preset].seconds >= width - 1);
  return fitting ?? defaultPreset;
}
