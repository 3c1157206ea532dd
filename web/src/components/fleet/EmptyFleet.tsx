import { CopyButton } from "@/components/ui/CopyButton";
import styles from "./EmptyFleet.module.css";

// Where the server takes agents unless it is told otherwise.
const AGENT_PORT = 7701;

/** What a new server shows: how to get the first host in. */
export function EmptyFleet() {
  const command = `GOHUB_TOKEN_FILE=agent-token gohub-agent run --server ${window.location.hostname}:${AGENT_PORT}`;
  return (
    <section className={styles.empty} aria-labelledby="empty-title">
      <h1 id="empty-title" className={styles.title}>
        No host yet
      </h1>
      <p className={styles.text}>
        Start an agent on a machine, and it appears here within seconds. <code>agent-token</code> is the file with the token that this
        server takes from agents.
      </p>
      <div className={styles.command}>
        <code>{command}</code>
        <CopyButton text={command} />
      </div>
    </section>
  );
}
