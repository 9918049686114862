/** Building blocks of pages: elements are made, never parsed, so no text of a user becomes markup. */

/** An element with attributes (`onclick` and the like take functions, `dataset` an object) and children. */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "dataset") Object.assign(node.dataset, value);
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked" || name === "disabled") node[name] = value;
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

/** One of the icons that the portal brings along. */
export function icon(name) {
  const namespace = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(namespace, "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("focusable", "false");
  const use = document.createElementNS(namespace, "use");
  use.setAttribute("href", `${document.getElementById("playground").dataset.icons}#${name}`);
  svg.append(use);
  return svg;
}

/** A text with `{name}` replaced. */
export function fill(text, values) {
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? values[name] : whole));
}

let lastId = 0;

/** An id for a control and its label. */
export function newId(name) {
  lastId += 1;
  return `pg-${name.replace(/\W/g, "-")}-${lastId}`;
}

/** Calls `act` once nothing has happened for `ms`. */
export function debounced(act, ms) {
  let timer;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(act, ms);
  };
}

/** A JSON value that the server has put into the page. */
export function pageData(id) {
  return JSON.parse(document.getElementById(id).textContent);
}

/** Addresses of images name the appliance as others see it; this page may reach it by another name. */
export function here(address) {
  const url = new URL(address, window.location.href);
  return url.pathname + url.search;
}

/** Says something to everybody, screen readers included. */
export const toast = (text, level = "info") => globalThis.darkroomToast(text, level);

/** A random name for one act, also on pages that came over plain http, where randomUUID is not offered. */
export function newName() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
