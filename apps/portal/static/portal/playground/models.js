/** Choosing models: a dialog that searches the catalogue, with its preview images. */

import { call } from "./api.js";
import { debounced, el, fill, here, icon, newId } from "./dom.js";

const PAGE = 24;
/** Titles and pictures of models that were seen, by name. */
const seen = new Map();

/** What is known of a model by its name. */
export async function modelNamed(name) {
  if (!seen.has(name)) {
    const found = await call("GET", `/v1/models/${encodeURIComponent(name)}`).catch(() => null);
    seen.set(name, found || { name, title: name, family: "", previews: [] });
  }
  return seen.get(name);
}

/** The account's most used model of a kind, or none; `/v1/models` puts it first. */
export async function firstModel(kind) {
  const page = await call("GET", `/v1/models?kind=${kind}&limit=${PAGE}`).catch(() => ({ items: [] }));
  page.items.forEach((model) => seen.set(model.name, model));
  return page.items.find((model) => !["inpaint", "refiner"].includes(model.variant)) || page.items[0];
}

function picture(model) {
  const preview = model.previews?.find((each) => each.media_type.startsWith("image/"));
  if (!preview) return el("span", { class: "pg-model-blank", "aria-hidden": "true" }, (model.title || "?")[0]);
  return el("img", { src: here(preview.url), alt: "", loading: "lazy" });
}

function card(model, onChoose) {
  return el(
    "button",
    { type: "button", class: "pg-model", onclick: onChoose },
    picture(model),
    el("span", { class: "pg-model-name" }, model.title || model.name),
    el("span", { class: "small quiet text-truncate" }, [model.family, model.variant].filter(Boolean).join(" · ")),
  );
}

/** The dialog; `choose` resolves with the chosen model, or undefined. `family` narrows what is shown. */
class ModelDialog {
  constructor({ kind, label, words, family }) {
    Object.assign(this, { kind, words, family, cursor: "", turn: 0, chosen: undefined });
    this.list = el("div", { class: "pg-models" });
    this.note = el("p", { class: "quiet my-3", role: "status" });
    this.more = el(
      "button",
      { type: "button", class: "btn btn-outline-secondary btn-sm", hidden: true, onclick: () => this.load(true) },
      words.more,
    );
    this.search = el("input", {
      type: "search",
      class: "form-control",
      autocomplete: "off",
      placeholder: words.search,
      "aria-label": words.search,
      oninput: debounced(() => this.load(false), 200),
    });
    this.dialog = this.frame(label);
  }

  frame(label) {
    const close = () => this.dialog.close();
    return el(
      "dialog",
      {
        class: "dialog dialog-wide",
        "aria-label": `${this.words.choose_model}: ${label}`,
        // A click beside it lands on the dialog itself.
        onclick: (event) => event.target === this.dialog && close(),
      },
      el(
        "div",
        { class: "pg-dialog-head" },
        el("h2", { class: "h5 mb-0" }, label),
        el("button", { type: "button", class: "btn-close", "aria-label": this.words.close, onclick: close }),
      ),
      this.search,
      this.list,
      this.note,
      this.more,
    );
  }

  choose() {
    document.body.append(this.dialog);
    this.dialog.showModal();
    this.search.focus();
    this.load(false);
    return new Promise((resolve) => {
      this.dialog.addEventListener("close", () => {
        this.dialog.remove();
        resolve(this.chosen);
      });
    });
  }

  async load(isMore) {
    const mine = (this.turn += 1);
    const query = new URLSearchParams({ kind: this.kind, limit: PAGE });
    if (this.search.value.trim()) query.set("q", this.search.value.trim());
    if (this.family) query.set("family", this.family);
    if (isMore) query.set("cursor", this.cursor);
    const page = await call("GET", `/v1/models?${query}`).catch((error) => ({ items: [], error }));
    // A slower answer to an earlier word must not replace a later one.
    if (mine !== this.turn) return;
    page.items.forEach((model) => seen.set(model.name, model));
    const cards = page.items.map((model) => card(model, () => this.take(model)));
    if (isMore) this.list.append(...cards);
    else this.list.replaceChildren(...cards);
    this.cursor = page.next_cursor || "";
    this.more.hidden = !this.cursor;
    this.note.textContent = page.error?.message || (this.list.children.length ? "" : this.words.no_models);
  }

  take(model) {
    this.chosen = model;
    this.dialog.close();
  }
}

const chooseModel = (options) => new ModelDialog(options).choose();

/** A button with the chosen model on it. */
export function modelControl(field, context) {
  const { words } = context;
  const id = newId(field.name);
  const face = el("span", { class: "pg-model-face" });
  const button = el(
    "button",
    { type: "button", id, class: "pg-model-button", "aria-describedby": `${id}-hint` },
    face,
    icon("chevron-down"),
  );
  const clear = el("button", {
    type: "button",
    class: "btn-close",
    "aria-label": `${words.remove}: ${field.label}`,
    onclick: () => set(undefined),
  });
  let name;

  button.addEventListener("click", async () => {
    const family = field.kind === "checkpoint" ? "" : context.family?.();
    const model = await chooseModel({ kind: field.kind, label: field.label, words, family });
    if (model) set(model.name);
    button.focus();
  });

  async function set(value) {
    name = value || undefined;
    clear.hidden = !name || field.isNeeded;
    face.replaceChildren(name || (field.isNeeded ? words.choose_model : words.any_model));
    button.setAttribute("aria-label", `${field.label}: ${face.textContent}`);
    context.changed();
    if (!name) return;
    const wanted = name;
    const model = await modelNamed(wanted);
    // Another may have been chosen meanwhile.
    if (wanted !== name) return;
    face.replaceChildren(picture(model), el("span", { class: "text-truncate" }, model.title || model.name));
    button.setAttribute("aria-label", `${field.label}: ${model.title || model.name}`);
    if (field.name === "model") context.modelChosen?.(model);
  }

  set(undefined);
  const hint = el("div", { class: "form-text", id: `${id}-hint`, hidden: !field.hint }, field.hint);
  return {
    node: el(
      "div",
      { class: "pg-field" },
      el("div", { class: "form-label" }, field.label),
      el("div", { class: "d-flex align-items-center gap-2" }, button, clear),
      hint,
    ),
    get: () => name,
    set,
  };
}

/** Several models by name, as a row of labels. */
export function modelsControl(field, context) {
  const { words } = context;
  const place = el("div", { class: "d-flex flex-wrap gap-2 mb-2" });
  let names = [];

  function show(next) {
    names = next;
    const chips = names.map((name) =>
      el(
        "span",
        { class: "tag" },
        name,
        el("button", {
          type: "button",
          class: "btn-close",
          "aria-label": fill(`${words.remove}: {name}`, { name }),
          onclick: () => show(names.filter((other) => other !== name)),
        }),
      ),
    );
    place.replaceChildren(...chips);
    context.changed();
  }

  const add = el("button", { type: "button", class: "btn btn-outline-secondary btn-sm" }, `+ ${words.add}`);
  add.addEventListener("click", async () => {
    const model = await chooseModel({ kind: field.kind, label: field.label, words, family: context.family?.() });
    if (model && !names.includes(model.name)) show([...names, model.name]);
  });
  return {
    node: el("div", { class: "pg-field" }, el("div", { class: "form-label" }, field.label), place, add),
    get: () => (names.length ? names : undefined),
    set: (value) => show(value || []),
  };
}
