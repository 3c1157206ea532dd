import { TypeLink } from "@/components/docs/TypeLink";
import type { Schema } from "@/lib/openapi";
import styles from "./ApiPage.module.css";

export function SchemaCard({ name, schema }: { name: string; schema: Schema }) {
  const fields = Object.entries(schema.properties ?? {});
  return (
    <article className={styles.card} id={`schema-${name}`}>
      <h3>
        <code>{name}</code>
      </h3>
      {schema.description ? <p className={styles.muted}>{schema.description}</p> : null}
      {schema.enum ? (
        <ul className={styles.values}>
          {schema.enum.map((value) => (
            <li key={value}>
              <code>{value}</code>
            </li>
          ))}
        </ul>
      ) : null}
      {fields.length > 0 ? (
        <table className={styles.fields}>
          <thead>
            <tr>
              <th scope="col">Field</th>
              <th scope="col">Type</th>
              <th scope="col">Meaning</th>
            </tr>
          </thead>
          <tbody>
            {fields.map(([field, type]) => (
              <tr key={field}>
                <td>
                  <code>{field}</code>
                </td>
                <td>
                  <TypeLink schema={type} />
                </td>
                <td>{type.description ?? type.title}</td>
              </tr>
            ))}
          </tbody>
        </table>
      ) : null}
    </article>
  );
}
