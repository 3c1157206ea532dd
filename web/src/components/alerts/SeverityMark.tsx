import { Icon } from "@/components/ui/Icon";
import type { SeverityJson } from "@/gen/gohub/v1/alert_pb";
import styles from "./SeverityMark.module.css";

export function severityName(severity: SeverityJson | undefined): "critical" | "warning" {
  return severity === "SEVERITY_CRITICAL" ? "critical" : "warning";
}

/** An octagon or a triangle: told apart without colour. */
export function SeverityMark({ severity }: { severity: SeverityJson | undefined }) {
  const name = severityName(severity);
  return (
    <span className={styles.mark} data-severity={name}>
      <Icon name={name} size={18} />
      <span className="srOnly">{name}</span>
    </span>
  );
}
