"use client";
import { OperationCard } from "@/components/docs/OperationCard";
import { SchemaCard } from "@/components/docs/SchemaCard";
import { LiveDocs } from "@/components/docs/LiveDocs";
import { Notice } from "@/components/ui/Notice";
import { messageOf } from "@/api/client";
import { sectionsOf } from "@/lib/openapi";
import { useOpenApi } from "@/queries/useOpenApi";
import { useServerInfo } from "@/queries/useServerInfo";
import styles from "./ApiPage.module.css";

export function ApiPage() {
  const api = useOpenApi();
  const info = useServerInfo();
  if (api.error) {
    return (
      <Notice title="The description of the API can not be read" tone="error">
        {messageOf(api.error)}
      </Notice>
    );
  }
  if (!api.data) return <p className={styles.wait}>Loading…</p>;
  const sections = sectionsOf(api.data);
  const schemas = Object.entries(api.data.definitions ?? {});
  return (
    <div className={styles.page}>
      <nav className={styles.contents} aria-label="On this page">
        {sections.map((section) => (
          <div key={section.name}>
            <h2 className={styles.contentsTitle}>{section.name}</h2>
            <ul>
              {section.operations.map(({ method, path }) => (
                <li key={method + path}>
                  <a href={`#${method}${path}`}>{path.replace("/api/v1", "")}</a>
                </li>
              ))}
            </ul>
          </div>
        ))}
        <div>
          <h2 className={styles.contentsTitle}>More</h2>
          <ul>
            <li>
              <a href="#live">/live</a>
            </li>
            <li>
              <a href="#schemas">Schemas</a>
            </li>
          </ul>
        </div>
      </nav>
      <div className={styles.main}>
        <h1>API</h1>
        <p className={styles.lead}>
          JSON over HTTP, on this server{info.data?.version ? `, GoHub ${info.data.version}` : ""}. The same methods are served over gRPC. A
          machine-readable description is at <a href="/api/v1/openapi.json">/api/v1/openapi.json</a>.
        </p>
        {sections.map((section) => (
          <section key={section.name} className={styles.section}>
            <h2>{section.name}</h2>
            <p className={styles.lead}>{section.description}</p>
            {section.operations.map((entry) => (
              <OperationCard key={entry.method + entry.path} {...entry} />
            ))}
          </section>
        ))}
        <LiveDocs />
        <section className={styles.section} id="schemas">
          <h2>Schemas</h2>
          {schemas.map(([name, schema]) => (
            <SchemaCard key={name} name={name} schema={schema} />
          ))}
        </section>
      </div>
    </div>
  );
}
