"use client";
import { SeverityMark, severityName } from "@/components/alerts/SeverityMark";
import { Panel } from "@/components/ui/Panel";
import { messageOf } from "@/api/client";
import type { RuleJson } from "@/gen/gohub/v1/alert_pb";
import { formatDuration, formatterOf } from "@/lib/format";
import { orZero } from "@/lib/json";
import { useCatalogue, type Catalogue } from "@/queries/useCatalogue";
import { useRules } from "@/queries/useRules";
import styles from "./AlertsPage.module.css";

function condition(rule: RuleJson, catalogue: Catalogue): string {
  if (rule.silent) return "sends nothing";
  const metric = rule.metric ?? "";
  return `${metric} ${rule.op ?? ""} ${formatterOf(catalogue.unitOf(metric))(orZero(rule.threshold))}`;
}

export function RuleTable() {
  const rules = useRules();
  const catalogue = useCatalogue();
  return (
    <Panel title="Rules" count={rules.data?.length ?? 0}>
      {rules.error ? <p className={styles.none}>The rules can not be read: {messageOf(rules.error)}</p> : null}
      {rules.data?.length === 0 ? <p className={styles.none}>The server checks no rule.</p> : null}
      {rules.data && rules.data.length > 0 ? (
        <div className={styles.scroll}>
          <table className={styles.table}>
            <thead>
              <tr>
                <th scope="col">Rule</th>
                <th scope="col">Fires when a host</th>
                <th scope="col">For</th>
              </tr>
            </thead>
            <tbody>
              {rules.data.map((rule) => (
                <tr key={rule.name}>
                  <td>
                    <span className={styles.severity} title={severityName(rule.severity)}>
                      <SeverityMark severity={rule.severity} />
                      {rule.name}
                    </span>
                  </td>
                  <td>
                    <code>{condition(rule, catalogue)}</code>
                  </td>
                  <td>{orZero(rule.forSeconds) > 0 ? formatDuration(orZero(rule.forSeconds)) : "at once"}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      ) : null}
    </Panel>
  );
}
