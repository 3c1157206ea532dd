"use client";
import { useMemo, useState } from "react";
import { useSearchParams } from "next/navigation";
import { Chart } from "@/components/chart/Chart";
import { frameProps, type ChartFrame } from "@/components/host/charts/frame";
import { instanceLines } from "@/components/host/charts/lines";
import { useLineLimit } from "@/components/host/charts/useLineLimit";
import { useHostSeries } from "@/components/host/useHostSeries";
import { Panel } from "@/components/ui/Panel";
import type { HostJson } from "@/gen/gohub/v1/query_pb";
import { customMetric, customSeriesOf, formatCustom, labelText, unitOfName, type CustomSeries } from "@/lib/custom";
import { useSetParams } from "@/lib/useUrlState";
import styles from "./CustomMetricsPanel.module.css";

// More are shown on request: a host may have thousands.
const FEW = 12;

// What the page's address calls the metric that is drawn.
const PARAMETER = "custom";

/** What programs on the host tell: the newest values, and a chart of the metric that is chosen. */
export function CustomMetricsPanel({ host, frame }: { host: HostJson; frame: ChartFrame }) {
  const chosen = useSearchParams().get(PARAMETER);
  const setParams = useSetParams();
  const [all, setAll] = useState(false);
  const series = useMemo(() => customSeriesOf(host), [host]);
  if (series.length === 0) return null;
  return (
    <div className={styles.panel}>
      <Panel title="Custom metrics" count={series.length}>
        {chosen === null ? null : (
          <div className={styles.chart}>
            <CustomChart key={chosen} name={chosen} frame={frame} />
          </div>
        )}
        <table className={styles.table}>
          <thead>
            <tr>
              <th scope="col">Metric</th>
              <th scope="col">Labels</th>
              <th scope="col" className={styles.number}>
                Value
              </th>
            </tr>
          </thead>
          <tbody>
            {(all ? series : series.slice(0, FEW)).map((one) => (
              <Row
                key={`${one.name} ${labelText(one.labels)}`}
                series={one}
                chosen={one.name === chosen}
                onChoose={() => {
                  setParams({ [PARAMETER]: one.name === chosen ? null : one.name }, "replace");
                }}
              />
            ))}
          </tbody>
        </table>
        {series.length > FEW ? (
          <button
            type="button"
            className={styles.more}
            onClick={() => {
              setAll(!all);
            }}
          >
            {all ? `Only the first ${FEW}` : `Show ${series.length - FEW} more series`}
          </button>
        ) : null}
      </Panel>
    </div>
  );
}

function Row({ series, chosen, onChoose }: { series: CustomSeries; chosen: boolean; onChoose: () => void }) {
  const labels = labelText(series.labels);
  return (
    <tr data-chosen={chosen}>
      <td>
        <button type="button" className={styles.name} aria-pressed={chosen} title={chosen ? "Hide the graph" : "Show the graph"} onClick={onChoose}>
          {series.name}
        </button>
        <span className={styles.under}>{labels}</span>
      </td>
      <td className={styles.labels} title={labels}>
        {labels}
      </td>
      <td className={styles.number} title={series.value?.toString()}>
        {formatCustom(series.name, series.value)}
      </td>
    </tr>
  );
}

const range = { fromZero: false };

function CustomChart({ name, frame }: { name: string; frame: ChartFrame }) {
  const metrics = useMemo(() => [customMetric(name)], [name]);
  const series = useHostSeries(frame.hostId, metrics, frame.range, frame.interval);
  const { limit, more } = useLineLimit();
  const { lines, hidden } = useMemo(() => {
    const drawn = series.of(customMetric(name)).map((points) => ({ ...points, labels: { line: labelText(points.labels) || name } }));
    return instanceLines(drawn, "line", limit);
  }, [series, name, limit]);
  return (
    <Chart
      metric={customMetric(name)}
      title={name}
      unit={unitOfName(name)}
      lines={lines}
      y={range}
      footer={
        series.error ? (
          <p role="alert" className={styles.error}>
            {series.error.message}
          </p>
        ) : (
          more(hidden, "series")
        )
      }
      {...frameProps(frame, series)}
    />
  );
}
