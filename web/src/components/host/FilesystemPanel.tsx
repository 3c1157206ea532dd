import { Meter } from "@/components/ui/Meter";
import { Panel } from "@/components/ui/Panel";
import type { HostJson, InstanceJson } from "@/gen/gohub/v1/query_pb";
import { formatBytes, formatPercent } from "@/lib/format";
import { instancesOf, instanceValue, label } from "@/lib/instances";
import styles from "./FilesystemPanel.module.css";

export function FilesystemPanel({ host }: { host: HostJson }) {
  const filesystems = instancesOf(host, "filesystem").sort((a, b) => label(a, "mountpoint").localeCompare(label(b, "mountpoint")));
  if (filesystems.length === 0) return null;
  return (
    <Panel title="Filesystems" count={filesystems.length}>
      <ul className={styles.list}>
        {filesystems.map((filesystem) => (
          <Filesystem key={`${label(filesystem, "mountpoint")} ${label(filesystem, "device")}`} filesystem={filesystem} />
        ))}
      </ul>
    </Panel>
  );
}

function Filesystem({ filesystem }: { filesystem: InstanceJson }) {
  const used = instanceValue(filesystem, "filesystem_used_percent");
  const inodes = instanceValue(filesystem, "filesystem_inodes_used_percent");
  return (
    <li className={styles.item}>
      <div className={styles.line}>
        <strong className={styles.mount}>{label(filesystem, "mountpoint")}</strong>
        <span className={styles.device}>{[label(filesystem, "device"), label(filesystem, "fstype")].filter(Boolean).join(", ")}</span>
        <span className={styles.percent}>{formatPercent(used)}</span>
      </div>
      <Meter percent={used} />
      <div className={styles.detail}>
        <span>
          {formatBytes(instanceValue(filesystem, "filesystem_used_bytes"))} of {formatBytes(instanceValue(filesystem, "filesystem_size_bytes"))},{" "}
          {formatBytes(instanceValue(filesystem, "filesystem_available_bytes"))} free
        </span>
        {inodes === undefined ? null : <span>{formatPercent(inodes)} of inodes</span>}
      </div>
    </li>
  );
}
