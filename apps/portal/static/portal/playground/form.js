/** The form of one kind, drawn from the description that the server gives; it knows no field by name. */

import { makeControl } from "./controls.js";
import { el } from "./dom.js";

/** Draws kinds into `place`. What was entered stays with its field when the kind changes. */
export class Form {
  constructor({ place, description, words, onChange }) {
    this.place = place;
    this.description = description;
    this.words = words;
    this.onChange = onChange;
    this.kept = {};
    this.controls = new Map();
    this.listeners = [];
    this.pictures = {};
    this.isDrawing = false;
    this.family = "";
  }

  get kind() {
    return this.kindRow.code;
  }

  /** Shows another kind with what is known of its fields. */
  async show(code) {
    if (this.kindRow) Object.assign(this.kept, await this.values({ isFinal: false }));
    this.kindRow = this.description.kinds.find((kind) => kind.code === code) || this.description.kinds[0];
    this.draw();
  }

  /** Replaces everything by the fields of a request. */
  fillWith(body) {
    this.kindRow = this.description.kinds.find((kind) => kind.code === body.kind) || this.description.kinds[0];
    this.kept = { ...body };
    this.draw();
  }

  draw() {
    this.isDrawing = true;
    this.controls.clear();
    this.listeners = [];
    this.pictures = {};
    const context = this.context();
    const rows = this.kindRow.fields.map((name) => this.field(name));
    const groups = this.description.groups.map((group) => {
      const nodes = rows.filter((row) => row.group === group.code).map((row) => this.control(row, context));
      return nodes.length ? this.group(group, nodes) : null;
    });
    this.place.replaceChildren(...groups.filter(Boolean));
    for (const [name, control] of this.controls) control.set(this.kept[name]);
    this.isDrawing = false;
    this.onChange();
  }

  field(name) {
    const isNeeded = this.kindRow.needs.includes(name);
    const row = this.description.fields[name];
    return { ...row, isNeeded, is_required: isNeeded, group: isNeeded ? "main" : row.group };
  }

  control(row, context) {
    const control = makeControl(row, context);
    this.controls.set(row.name, control);
    control.node.dataset.field = row.name;
    return control.node;
  }

  group(group, nodes) {
    if (group.is_open) return el("section", { class: `pg-group pg-group-${group.code}`, "aria-label": group.label }, nodes);
    return el("details", { class: "pg-group" }, el("summary", {}, group.label), nodes);
  }

  context() {
    return {
      words: this.words,
      pictures: this.pictures,
      changed: () => this.isDrawing || this.onChange(),
      onPicture: (act) => this.listeners.push(act),
      pictureChanged: (name, picture) => {
        this.pictures[name] = picture;
        this.listeners.forEach((act) => act(name));
      },
      family: () => this.family,
      modelChosen: (model) => (this.family = model.family),
    };
  }

  set(name, value) {
    this.controls.get(name)?.set(value);
  }

  has(name) {
    return this.controls.has(name);
  }

  async values(options) {
    const values = {};
    for (const [name, control] of this.controls) {
      const value = await control.get(options);
      if (value !== undefined) values[name] = value;
    }
    return values;
  }

  /** The body of POST /v1/jobs. With `isFinal: false` nothing is uploaded for it. */
  async body(options = { isFinal: true }) {
    return { kind: this.kind, ...(await this.values(options)) };
  }

  /** The label of the first field that is needed and empty. */
  missing(body) {
    const name = this.kindRow.needs.find((each) => body[each] === undefined);
    return name && this.description.fields[name].label;
  }

  /** Marks the field that a refusal speaks of, and opens what hides it. */
  point(pointer) {
    this.place.querySelectorAll(".is-refused").forEach((node) => node.classList.remove("is-refused"));
    const name = pointer.replace(/^#\//, "").split("/")[0];
    const node = name && this.place.querySelector(`[data-field="${CSS.escape(name)}"]`);
    if (!node) return;
    node.classList.add("is-refused");
    const group = node.closest("details");
    if (group) group.open = true;
    node.querySelector("input, textarea, select, button")?.focus();
  }
}
