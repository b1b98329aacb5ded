// From JSON Schema to what a form asks for. Pure. What a form can't ask for is "json": a text area.

const DEEPEST = 6;
const MOST_CHOICES = 200;

/**
 * What is asked for by a schema: `{kind, hint, nullable, fallback, ...}`; `fallback` is its default.
 *
 * Kinds: "text" (`least`, `most` characters), "number" (`whole`, `least`, `most`), "choice"
 * (`choices`, any JSON), "object" (`fields`: `{name, required, field}`), "list" (`item`), "json".
 */
export function fieldOf(schema, root = schema, depth = 0) {
  const { schema: own, nullable } = resolved(schema ?? {}, root);
  const common = {
    hint: typeof own.description === "string" ? own.description : "",
    nullable,
    fallback: schema && Object.hasOwn(schema, "default") ? schema.default : own.default,
  };
  return { ...(depth > DEEPEST ? { kind: "json" } : kindOf(own, root, depth)), ...common };
}

function kindOf(schema, root, depth) {
  const choices = Object.hasOwn(schema, "const") ? [schema.const] : schema.enum;
  if (Array.isArray(choices) && choices.length <= MOST_CHOICES) return { kind: "choice", choices };
  switch (schema.type) {
    case "string":
      return schema.contentEncoding ? { kind: "json" } : { kind: "text", least: schema.minLength, most: schema.maxLength };
    case "integer":
    case "number":
      return { kind: "number", whole: schema.type === "integer", least: schema.minimum, most: schema.maximum };
    case "boolean":
      return { kind: "choice", choices: [false, true] };
    case "null":
      return { kind: "choice", choices: [null] };
    case "array":
      return isPlain(schema.items) && !schema.prefixItems
        ? { kind: "list", item: fieldOf(schema.items, root, depth + 1) }
        : { kind: "json" };
    case "object":
      return isPlain(schema.properties) && Object.keys(schema.properties).length
        ? objectOf(schema, root, depth)
        : { kind: "json" };
    default:
      return { kind: "json" };
  }
}

function objectOf(schema, root, depth) {
  const required = new Set(schema.required ?? []);
  const fields = Object.entries(schema.properties).map(([name, each]) => ({
    name, required: required.has(name), field: fieldOf(each, root, depth + 1),
  }));
  return { kind: "object", fields: fields.sort((one, two) => two.required - one.required) };
}

/** A schema without references, and whether null may stand for it. */
function resolved(schema, root) {
  let nullable = false;
  for (let step = 0; step < 16; step += 1) {
    if (typeof schema.$ref === "string") {
      schema = { ...lookUp(schema.$ref, root), ...without(schema, "$ref") };
      continue;
    }
    const options = schema.anyOf ?? schema.oneOf;
    const others = Array.isArray(options) ? options.filter((each) => each?.type !== "null") : [];
    if (others.length === 1 && others.length < options.length) {
      nullable = true;
      schema = others[0];
      continue;
    }
    if (Array.isArray(schema.type)) {
      const types = schema.type.filter((each) => each !== "null");
      nullable ||= types.length < schema.type.length;
      schema = { ...schema, type: types.length === 1 ? types[0] : undefined };
    }
    break;
  }
  return { schema, nullable };
}

function lookUp(reference, root) {
  let found = reference.startsWith("#/") ? root : {};
  for (const part of reference.split("/").slice(1)) {
    const name = decodeURIComponent(part).replaceAll("~1", "/").replaceAll("~0", "~");
    found = isPlain(found) && Object.hasOwn(found, name) ? found[name] : {};
  }
  return isPlain(found) ? found : {};
}

function without(map, key) {
  return Object.fromEntries(Object.entries(map).filter(([name]) => name !== key));
}

function isPlain(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
