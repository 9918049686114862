/** One control for each kind of value: `{node, get, set}`. What is left empty is not asked for. */

import { el, newId } from "./dom.js";
import { mapPreview } from "./hints.js";
import { modelControl, modelsControl } from "./models.js";
import { maskControl } from "./mask.js";
import { pictureControl, picturesControl } from "./pictures.js";

const MAKERS = {
  text: textControl,
  textarea: textareaControl,
  number: numberControl,
  range: rangeControl,
  select: selectControl,
  ratio: selectControl,
  switch: switchControl,
  part: partControl,
  list: listControl,
  model: modelControl,
  models: modelsControl,
  picture: pictureControl,
  pictures: picturesControl,
  mask: maskControl,
};

/** The control of a field; `context` has the page's words and says when something has changed. */
export function makeControl(field, context) {
  return (MAKERS[field.control] || textControl)(field, context);
}

/** A label above, a control, and the API's own hint below. */
export function labelled(field, id, control, { isInline = false } = {}) {
  const hint = el("div", { class: "form-text", id: `${id}-hint`, hidden: !field.hint }, field.hint);
  const label = el("label", { class: isInline ? "form-check-label" : "form-label", for: id }, field.label);
  if (isInline) return el("div", { class: "form-check form-switch pg-field" }, control, label, hint);
  return el("div", { class: "pg-field" }, label, control, hint);
}

function textControl(field, context) {
  const id = newId(field.name);
  const input = el("input", {
    id,
    class: "form-control",
    type: "text",
    maxlength: field.most,
    autocomplete: "off",
    "aria-describedby": `${id}-hint`,
    oninput: context.changed,
  });
  return {
    node: labelled(field, id, input),
    get: () => input.value.trim() || undefined,
    set: (value) => (input.value = value ?? ""),
  };
}

function textareaControl(field, context) {
  const id = newId(field.name);
  const input = el("textarea", {
    id,
    class: "form-control",
    rows: field.name === "prompt" ? 4 : 2,
    maxlength: field.most,
    "aria-describedby": `${id}-hint`,
    oninput: context.changed,
  });
  return {
    node: labelled(field, id, input),
    get: () => (input.value.trim() ? input.value : undefined),
    set: (value) => (input.value = value ?? ""),
  };
}

function numberInput(field, id, context) {
  return el("input", {
    id,
    class: "form-control",
    type: "number",
    min: field.lowest,
    max: field.highest,
    // Figures off the grid of the buttons are fine where the API has no grid.
    step: field.step >= 1 ? field.step : "any",
    placeholder: context.words.default,
    inputmode: field.step >= 1 ? "numeric" : "decimal",
    "aria-describedby": `${id}-hint`,
    oninput: context.changed,
  });
}

const numberOf = (input) => (input.value === "" ? undefined : Number(input.value));

function numberControl(field, context) {
  const id = newId(field.name);
  const input = numberInput(field, id, context);
  return {
    node: labelled(field, id, input),
    get: () => numberOf(input),
    set: (value) => (input.value = value ?? ""),
  };
}

function rangeControl(field, context) {
  const id = newId(field.name);
  const input = numberInput(field, id, context);
  const slider = el("input", {
    class: "form-range",
    type: "range",
    min: field.lowest,
    max: field.highest,
    step: field.step,
    "aria-label": field.label,
    oninput: () => {
      input.value = slider.value;
      context.changed();
    },
  });
  input.addEventListener("input", () => (slider.value = input.value));
  return {
    node: labelled(field, id, el("div", { class: "pg-range" }, slider, input)),
    get: () => numberOf(input),
    set: (value) => {
      input.value = value ?? "";
      slider.value = value ?? field.lowest;
    },
  };
}

function selectControl(field, context) {
  const id = newId(field.name);
  const options = field.options.map((option) => el("option", { value: option }, option));
  const unset = field.is_required ? [] : [el("option", { value: "" }, context.words.default)];
  const input = el(
    "select",
    { id, class: "form-select", "aria-describedby": `${id}-hint`, onchange: context.changed },
    unset,
    options,
  );
  return {
    node: labelled(field, id, input),
    get: () => input.value || undefined,
    set: (value) => (input.value = value ?? (field.is_required ? field.options[0] : "")),
  };
}

function switchControl(field, context) {
  const id = newId(field.name);
  // The API's own table says in words what it is when it is left out.
  const usual = /default: true/.test(field.hint);
  const input = el("input", {
    id,
    class: "form-check-input",
    type: "checkbox",
    role: "switch",
    checked: usual,
    "aria-describedby": `${id}-hint`,
    onchange: context.changed,
  });
  return {
    node: labelled(field, id, input, { isInline: true }),
    get: () => (input.checked === usual ? undefined : input.checked),
    set: (value) => (input.checked = value ?? usual),
  };
}

/** The controls of an object's fields, and the object that they say. */
function fieldsOf(fields, context) {
  const controls = fields.map((field) => [field, makeControl(field, context)]);
  return {
    nodes: controls.map(([, control]) => control.node),
    async get() {
      const values = {};
      for (const [field, control] of controls) {
        const value = await control.get();
        if (value !== undefined) values[field.name] = value;
      }
      return values;
    },
    set(values) {
      for (const [field, control] of controls) control.set(values?.[field.name]);
    },
  };
}

function partControl(field, context) {
  const inner = fieldsOf(field.fields, context);
  if (field.isNeeded) {
    const node = el(
      "fieldset",
      { class: "pg-part" },
      el("legend", { class: "form-label" }, field.label),
      inner.nodes,
    );
    return { node, get: inner.get, set: inner.set };
  }
  const id = newId(field.name);
  const box = el("div", { class: "pg-part", hidden: true }, inner.nodes);
  const input = el("input", {
    id,
    class: "form-check-input",
    type: "checkbox",
    role: "switch",
    "aria-describedby": `${id}-hint`,
    onchange: () => {
      box.hidden = !input.checked;
      context.changed();
    },
  });
  return {
    node: el("div", {}, labelled(field, id, input, { isInline: true }), box),
    get: async () => (input.checked ? inner.get() : undefined),
    set: (value) => {
      input.checked = value !== undefined && value !== null;
      box.hidden = !input.checked;
      inner.set(value);
    },
  };
}

function listControl(field, context) {
  const { words } = context;
  const items = [];
  const place = el("div", { class: "stack-tight" });
  const more = el("button", { type: "button", class: "btn btn-outline-secondary btn-sm mt-2" }, `+ ${words.add}`);

  function add(value) {
    const item = fieldsOf(field.fields, context);
    const remove = el(
      "button",
      { type: "button", class: "btn btn-quiet btn-sm", "aria-label": `${words.remove}: ${field.label}` },
      words.remove,
    );
    const extra = field.name === "controls" ? mapPreview(item, context) : null;
    const node = el("div", { class: "pg-part" }, item.nodes, extra, el("div", {}, remove));
    remove.addEventListener("click", () => {
      items.splice(items.indexOf(item), 1);
      node.remove();
      update();
      context.changed();
    });
    item.set(value);
    items.push(item);
    place.append(node);
    update();
  }

  const update = () => (more.hidden = items.length >= field.most);
  more.addEventListener("click", () => {
    add(undefined);
    context.changed();
  });
  return {
    node: el(
      "fieldset",
      { class: "pg-field" },
      el("legend", { class: "form-label" }, field.label),
      place,
      more,
    ),
    async get() {
      const values = [];
      for (const item of items) values.push(await item.get());
      return values.length ? values : undefined;
    },
    set(values) {
      items.length = 0;
      place.replaceChildren();
      for (const value of values || (field.isNeeded ? [undefined] : [])) add(value);
      update();
    },
  };
}
