// The topics as they were declared: schemas, and who may publish. Asked for when there are others.

const PART = /\\\{[^{}]*\\\}/g;

export class Catalogue {
  #api;
  #known = "";
  #asking = false;
  #topics = new Map();
  /** The templates: `{name, instances, max_instances, publishable, schema}`. */
  templates = [];

  constructor(api) {
    this.#api = api;
  }

  /** Ask again, where the snapshot has other topics than the one before. Calls `done` with news. */
  async follow(snapshot, done) {
    const names = JSON.stringify(Object.keys(snapshot.topics));
    if (names === this.#known || this.#asking) return;
    this.#asking = true;
    try {
      const { topics, templates = [] } = await this.#api.json("topics");
      this.#topics = new Map(topics.map((topic) => [topic.name, topic]));
      this.templates = templates;
      this.#known = names;
      done();
    } catch {
      // the next snapshot asks again
    } finally {
      this.#asking = false;
    }
  }

  /** Forget everything: the server is another one now. */
  clear() {
    this.#known = "";
  }

  /** The topic of this name, or the template that stands for it; undefined for neither. */
  find(name) {
    return this.#topics.get(name) ?? this.templates.find((template) => patternOf(template.name).test(name));
  }
}

/** Values of a template's parts are 1 to 64 letters, digits, `_`, `-`. */
function patternOf(template) {
  const escaped = template.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  return new RegExp(`^${escaped.replace(PART, "[A-Za-z0-9_-]{1,64}")}$`);
}
