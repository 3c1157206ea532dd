import { innerRef, typeName, type Schema } from "@/lib/openapi";

/** A type's name, leading to its schema where it has one. */
export function TypeLink({ schema }: { schema: Schema | undefined }) {
  const ref = innerRef(schema);
  const name = typeName(schema);
  return ref === undefined ? <code>{name}</code> : <a href={`#schema-${ref}`}><code>{name}</code></a>;
}
