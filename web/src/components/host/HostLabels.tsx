"use client";
import Link from "next/link";
import { useId, useState, type SyntheticEvent } from "react";
import { Icon } from "@/components/ui/Icon";
import { messageOf } from "@/api/client";
import type { HostJson } from "@/gen/gohub/v1/query_pb";
import { orZero } from "@/lib/json";
import { chipsOf, labelText, parseLabels, selectorOf } from "@/lib/labels";
import { useSetLabels } from "@/queries/useSetLabels";
import styles from "./HostLabels.module.css";

/** The host's labels. Each leads to the hosts that share it; those that the server gives can be changed here. */
export function HostLabels({ host }: { host: HostJson }) {
  const [editing, setEditing] = useState(false);
  const chips = chipsOf(host);
  return (
    <div className={styles.labels}>
      <ul className={styles.chips} aria-label="Labels">
        {chips.map(({ name, value, fromServer }) => (
          <li key={name}>
            <Link
              className={styles.chip}
              href={`/?q=${encodeURIComponent(selectorOf(name, value))}`}
              prefetch={false}
              title={`${fromServer ? "Set on the server" : "From the agent's configuration"}. Show all hosts with it.`}
            >
              <span className={styles.name}>{name}</span>
              <bdi className={styles.value}>{value}</bdi>
            </Link>
          </li>
        ))}
        <li>
          <button
            type="button"
            className={styles.edit}
            aria-expanded={editing}
            onClick={() => {
              setEditing(!editing);
            }}
          >
            <Icon name="edit" size={14} />
            {chips.length === 0 ? "Add labels" : "Edit labels"}
          </button>
        </li>
      </ul>
      {editing ? (
        <LabelForm
          host={host}
          onDone={() => {
            setEditing(false);
          }}
        />
      ) : null}
    </div>
  );
}

function LabelForm({ host, onDone }: { host: HostJson; onDone: () => void }) {
  const id = useId();
  const [text, setText] = useState(labelText(host.serverLabels ?? {}));
  const [mistake, setMistake] = useState<string | null>(null);
  const save = useSetLabels(orZero(host.hostId));
  const problem = mistake ?? (save.error ? messageOf(save.error) : null);

  const submit = (event: SyntheticEvent) => {
    event.preventDefault();
    const labels = parseLabels(text);
    if (typeof labels === "string") {
      setMistake(labels);
      return;
    }
    setMistake(null);
    save.mutate(labels, { onSuccess: onDone });
  };
  return (
    <form className={styles.form} onSubmit={submit}>
      <label htmlFor={id} className="srOnly">
        Labels set on the server
      </label>
      <input
        id={id}
        className={styles.input}
        value={text}
        placeholder="site=ams, role=db"
        autoComplete="off"
        spellCheck={false}
        autoFocus
        aria-invalid={problem !== null}
        aria-describedby={`${id}-hint`}
        onChange={(event) => {
          setText(event.target.value);
        }}
        onKeyDown={(event) => {
          if (event.key === "Escape") onDone();
        }}
      />
      <button type="submit" className={styles.save} disabled={save.isPending}>
        Save
      </button>
      <button type="button" className={styles.cancel} onClick={onDone}>
        Cancel
      </button>
      <p id={`${id}-hint`} className={styles.hint} role={problem === null ? undefined : "alert"} data-problem={problem !== null}>
        {problem ?? "Separated by commas. They win over the agent's own; a name with nothing after = hides the agent's."}
      </p>
    </form>
  );
}
