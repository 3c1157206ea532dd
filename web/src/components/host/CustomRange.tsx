"use client";
import { useState, type FormEvent } from "react";
import type { Bounds } from "@/components/chart/Chart";
import { fromInputValue, MIN_SECONDS, toInputValue } from "@/lib/timerange";
import styles from "./RangePicker.module.css";

export function CustomRange({ bounds, onApply }: { bounds: Bounds; onApply: (from: number, to: number) => void }) {
  const [from, setFrom] = useState(() => toInputValue(bounds.from));
  const [to, setTo] = useState(() => toInputValue(bounds.to));
  const start = fromInputValue(from);
  const end = fromInputValue(to);
  const valid = start !== null && end !== null && end - start >= MIN_SECONDS;
  const apply = (event: FormEvent) => {
    event.preventDefault();
    if (start !== null && end !== null && valid) onApply(start, end);
  };
  return (
    <form className={styles.custom} onSubmit={apply}>
      <label className={styles.field}>
        From
        <input type="datetime-local" step={1} required value={from} onChange={(event) => { setFrom(event.target.value); }} />
      </label>
      <label className={styles.field}>
        To
        <input type="datetime-local" step={1} required value={to} onChange={(event) => { setTo(event.target.value); }} />
      </label>
      <button type="submit" className={styles.apply} disabled={!valid}>
        Show
      </button>
      {valid ? null : (
        <p className={styles.invalid} role="alert">
          The end must be at least {MIN_SECONDS} seconds after the start.
        </p>
      )}
    </form>
  );
}
