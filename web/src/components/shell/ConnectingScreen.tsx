import { messageOf } from "@/api/client";
import { Mark } from "@/components/ui/Mark";
import styles from "./ConnectingScreen.module.css";

/** What stands in for the page until the server has said who may see it. */
export function ConnectingScreen({ error, onRetry }: { error: Error | null; onRetry: () => void }) {
  return (
    <div className={styles.screen}>
      <Mark size={36} />
      {error === null ? (
        <p className={styles.wait} role="status">
          Connecting to the server…
        </p>
      ) : (
        <div role="alert" className={styles.error}>
          <p>{messageOf(error)}</p>
          <button type="button" className={styles.retry} onClick={onRetry}>
            Try again
          </button>
        </div>
      )}
    </div>
  );
}
