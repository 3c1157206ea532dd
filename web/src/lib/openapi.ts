// The part of Swagger 2 that the server's description of its API uses.

export type Schema = {
  $ref?: string;
  type?: string;
  format?: string;
  description?: string;
  title?: string;
  enum?: string[];
  default?: unknown;
  items?: Schema;
  properties?: Record<string, Schema>;
  additionalProperties?: Schema | boolean;
};

export type Parameter = Schema & {
  name: string;
  in: string;
  required?: boolean;
  collectionFormat?: string;
  schema?: Schema;
};

export type Operation = {
  summary?: string;
  description?: string;
  operationId?: string;
  tags?: string[];
  parameters?: Parameter[];
  responses?: Record<string, { description?: string; schema?: Schema }>;
};

export type OpenApi = {
  info?: { title?: string; version?: string };
  tags?: { name: string; description?: string }[];
  paths?: Record<string, Record<string, Operation>>;
  definitions?: Record<string, Schema>;
};

const refPrefix = "#/definitions/";

export function refName(schema: Schema | undefined): string | undefined {
  return schema?.$ref?.startsWith(refPrefix) ? schema.$ref.slice(refPrefix.length) : undefined;
}

/** A schema's type in a word: "Host[]", "map of string to number", "string (date-time)". */
export function typeName(schema: Schema | undefined): string {
  if (!schema) return "nothing";
  const ref = refName(schema);
  if (ref !== undefined) return ref;
  if (schema.type === "array") return `${typeName(schema.items)}[]`;
  if (schema.type === "object" && typeof schema.additionalProperties === "object") {
    return `map of string to ${typeName(schema.additionalProperties)}`;
  }
  const type = schema.type ?? "any";
  return schema.format === undefined ? type : `${type} (${schema.format})`;
}

/** The definition at the end of a schema, through arrays and maps. */
export function innerRef(schema: Schema | undefined): string | undefined {
  if (!schema) return undefined;
  const ref = refName(schema);
  if (ref !== undefined) return ref;
  if (schema.items) return innerRef(schema.items);
  return typeof schema.additionalProperties === "object" ? innerRef(schema.additionalProperties) : undefined;
}

export type Section = {
  name: string;
  description: string;
  operations: { method: string; path: string; operation: Operation }[];
};

/** Operations by tag, in the description's own order; tags without operations are left out. */
export function sectionsOf(api: OpenApi): Section[] {
  const sections = new Map<string, Section>();
  for (const tag of api.tags ?? []) sections.set(tag.name, { name: tag.name, description: tag.description ?? "", operations: [] });
  for (const [path, methods] of Object.entries(api.paths ?? {})) {
    for (const [method, operation] of Object.entries(methods)) {
      const name = operation.tags?.[0] ?? "API";
      const section = sections.get(name) ?? { name, description: "", operations: [] };
      sections.set(name, section);
      section.operations.push({ method: method.toUpperCase(), path, operation });
    }
  }
  return [...sections.values()].filter((section) => section.operations.length > 0);
}
