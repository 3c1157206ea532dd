import { TypeLink } from "@/components/docs/TypeLink";
import type { Operation, Parameter } from "@/lib/openapi";
import styles from "./ApiPage.module.css";

export function OperationCard({ method, path, operation }: { method: string; path: string; operation: Operation }) {
  const parameters = operation.parameters ?? [];
  return (
    <article className={styles.card} id={`${method}${path}`}>
      <h3 className={styles.signature}>
        <span className={styles.method}>{method}</span>
        <code>{path}</code>
      </h3>
      {operation.summary ? <p>{operation.summary}</p> : null}
      {operation.description ? <p className={styles.muted}>{operation.description}</p> : null}
      {parameters.length > 0 ? <Parameters parameters={parameters} /> : null}
      <dl className={styles.answers}>
        {Object.entries(operation.responses ?? {}).map(([status, response]) => (
          <div key={status} className={styles.answer}>
            <dt>{status === "default" ? "error" : status}</dt>
            <dd>
              <TypeLink schema={response.schema} />
            </dd>
          </div>
        ))}
      </dl>
    </article>
  );
}

function Parameters({ parameters }: { parameters: Parameter[] }) {
  return (
    <table className={styles.fields}>
      <thead>
        <tr>
          <th scope="col">Parameter</th>
          <th scope="col">Type</th>
          <th scope="col">Meaning</th>
        </tr>
      </thead>
      <tbody>
        {parameters.map((parameter) => (
          <tr key={`${parameter.in} ${parameter.name}`}>
            <td>
              <code>{parameter.name}</code>
              <span className={styles.where}>
                {parameter.in}
                {parameter.required ? ", required" : ""}
              </span>
            </td>
            <td>
              <TypeLink schema={parameter.schema ?? parameter} />
            </td>
            <td>
              {parameter.description}
              {parameter.collectionFormat === "multi" ? <span className={styles.where}>may be repeated</span> : null}
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
