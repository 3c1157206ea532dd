import styles from "./ApiPage.module.css";

/** The WebSocket, which the description of the HTTP methods has no words for. */
export function LiveDocs() {
  return (
    <section className={styles.section} id="live">
      <h2>Live values</h2>
      <article className={styles.card}>
        <h3 className={styles.signature}>
          <span className={styles.method}>WS</span>
          <code>/api/v1/live</code>
        </h3>
        <p>
          Text frames of JSON. The client asks for a topic, the server answers with a snapshot and then sends the hosts that changed, each
          whole. Alerts come to every client. A new request replaces the one before.
        </p>
        <table className={styles.fields}>
          <thead>
            <tr>
              <th scope="col">Direction</th>
              <th scope="col">Frame</th>
              <th scope="col">Meaning</th>
            </tr>
          </thead>
          <tbody>
            <tr>
              <td>to the server</td>
              <td>
                <code className={styles.frame}>{'{"fleet":{}}'}</code>
              </td>
              <td>Every host with its host-level values.</td>
            </tr>
            <tr>
              <td>to the server</td>
              <td>
                <code className={styles.frame}>{'{"host":{"hostId":3}}'}</code>
              </td>
              <td>One host with everything.</td>
            </tr>
            <tr>
              <td>to the client</td>
              <td>
                <code className={styles.frame}>{'{"seq":1,"snapshot":{"hosts":[…]}}'}</code>
              </td>
              <td>The whole topic. It replaces what the client has.</td>
            </tr>
            <tr>
              <td>to the client</td>
              <td>
                <code className={styles.frame}>{'{"seq":2,"delta":{"hosts":[…]}}'}</code>
              </td>
              <td>The hosts that changed. After a gap in seq, ask for the topic again.</td>
            </tr>
            <tr>
              <td>to the client</td>
              <td>
                <code className={styles.frame}>{'{"alerts":{"alerts":[…]}}'}</code>
              </td>
              <td>All alerts, after one changed.</td>
            </tr>
            <tr>
              <td>to the client</td>
              <td>
                <code className={styles.frame}>{'{"error":"…"}'}</code>
              </td>
              <td>The request could not be served.</td>
            </tr>
          </tbody>
        </table>
      </article>
    </section>
  );
}
