"use client";
import { HostLabels } from "@/components/host/HostLabels";
import { LastSeenText } from "@/components/host/LastSeenText";
import { Icon } from "@/components/ui/Icon";
import { StatusMark, statusKind } from "@/components/ui/StatusMark";
import type { HostJson } from "@/gen/gohub/v1/query_pb";
import { systemName } from "@/lib/facts";
import { clockSkew, hostname } from "@/lib/fleet";
import { formatBytes, formatDateTime, formatDuration } from "@/lib/format";
import { toNumber, toUnixSeconds } from "@/lib/json";
import styles from "./HostHeader.module.css";

const words = { up: "Up", late: "Late", down: "Down", unknown: "Unknown" } as const;

function factsOf(host: HostJson): [string, string][] {
  const { facts } = host;
  const cores = facts?.cpuCores ?? 0;
  const bootTime = toNumber(facts?.bootTimeUnixSeconds) ?? 0;
  const firstSeen = toUnixSeconds(host.firstSeen);
  const interval = facts?.intervalMillis ?? 0;
  const all: [string, string][] = [
    ["System", systemName(facts)],
    ["Kernel", facts?.kernelVersion ?? ""],
    ["CPU", [cores > 0 ? `${cores} ×` : "", facts?.cpuModel ?? "", facts?.arch ? `(${facts.arch})` : ""].filter(Boolean).join(" ")],
    ["Memory", (toNumber(facts?.memoryBytes) ?? 0) > 0 ? formatBytes(toNumber(facts?.memoryBytes)) : ""],
    ["Booted", bootTime > 0 ? formatDateTime(bootTime) : ""],
    ["First seen", firstSeen === undefined ? "" : formatDateTime(firstSeen)],
    ["Agent", [facts?.agentVersion ?? "", interval > 0 ? `every ${formatDuration(interval / 1000)}` : ""].filter(Boolean).join(", ")],
  ];
  return all.filter(([, value]) => value !== "");
}

export function HostHeader({ host, onBack }: { host: HostJson; onBack: () => void }) {
  const status = statusKind(host.status);
  const since = toUnixSeconds(host.statusSince);
  const skew = clockSkew(host);
  return (
    <header className={styles.header}>
      <div className={styles.line}>
        <button type="button" className={styles.back} onClick={onBack} aria-label="All hosts" title="All hosts">
          <Icon name="back" size={18} />
        </button>
        <h1 className={styles.name}>{hostname(host)}</h1>
        <span className={styles.status} data-status={status} title={since === undefined ? undefined : `since ${formatDateTime(since)}`}>
          <StatusMark status={status} />
          {words[status]}
          {since === undefined ? null : <span className="srOnly"> since {formatDateTime(since)}</span>}
        </span>
        {skew === undefined ? null : (
          <span className={styles.skew} title="The times of this host's samples are wrong by this.">
            Clock {formatDuration(Math.abs(skew))} {skew > 0 ? "ahead" : "behind"}
          </span>
        )}
        <LastSeenText time={toUnixSeconds(host.latest?.time)} />
      </div>
      <HostLabels host={host} />
      <dl className={styles.facts}>
        {factsOf(host).map(([name, value]) => (
          <div key={name} className={styles.fact}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
    </header>
  );
}
