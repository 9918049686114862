const main = document.getElementById("main");
const key = document.getElementById("key");
const METHODS = ["post", "get", "put", "patch", "delete"];
let reference = {};

// Text never becomes markup: everything is made by this.
function el(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [attribute, value] of Object.entries(attributes)) {
    if (attribute.startsWith("on")) made.addEventListener(attribute.slice(2), value);
    else if (value !== false) made.setAttribute(attribute, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

// What stands between backticks, as code.
function said(text) {
  return (text || "").split("`").map((part, index) => (index % 2 ? el("code", {}, part) : part));
}

// What a reference leads to, of whatever sort it is.
function resolved(given) {
  if (!given || !given.$ref) return given || {};
  const [kind, name] = given.$ref.split("/").slice(-2);
  return resolved(reference.components[kind][name]);
}

function typeOf(given) {
  const schema = resolved(given);
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return "one of " + schema.enum.join(", ");
  if (schema.anyOf) return schema.anyOf.map(typeOf).join(" or ");
  if (schema.type === "array") return "list of " + typeOf(schema.items);
  const range = [schema.minimum, schema.maximum].some((end) => end !== undefined) ? ` ${schema.minimum ?? "…"} to ${schema.maximum ?? "…"}` : "";
  return [].concat(schema.type || "any").join(" or ") + range;
}

function rows(schema, depth = 0) {
  const needed = new Set(schema.required || []);
  return Object.entries(schema.properties || {}).flatMap(([name, given]) => {
    const field = resolved(given);
    const inside = field.type === "array" ? resolved(field.items) : field;
    const note = needed.has(name) ? el("span", { class: "needed" }, " required") : null;
    const cells = el("tr", {},
      el("td", {}, el("span", { style: `padding-left: ${depth * 1.2}rem` }), el("code", {}, name), note),
      el("td", {}, el("div", {}, ...said(given.description || field.description)), el("div", { class: "about" }, typeOf(field))));
    return [cells, ...(depth < 3 ? rows(inside, depth + 1) : [])];
  });
}

function exampleOf(content) {
  const given = Object.values((content && content.examples) || {})[0];
  if (given) return given.value;
  const schema = resolved(content && content.schema);
  const names = schema.required || [];
  return Object.fromEntries(names.map((name) => [name, ""]));
}

function shown(text, type) {
  if (!/json/.test(type)) return text;
  try { return JSON.stringify(JSON.parse(text), null, 2); } catch { return text; }
}

function picturesIn(value, found = []) {
  if (typeof value === "string" && (/^data:image\//.test(value) || /\/media\/[^"]+\.(png|jpg|webp)$/.test(value))) found.push(value);
  else if (value && typeof value === "object") Object.values(value).forEach((each) => picturesIn(each, found));
  return found;
}

// Links carry the address that the operator chose; the page may be open under another one.
function onThisServer(link) {
  if (link.startsWith("data:")) return link;
  const url = new URL(link, location.href);
  return url.pathname + url.search;
}

function picturesOf(text) {
  try { return picturesIn(JSON.parse(text)).map((link) => el("img", { src: onThisServer(link), alt: "a picture of the answer" })); }
  catch { return []; }
}

async function send(method, path, operation, form, output, pictures, button) {
  const headers = {};
  const query = new URLSearchParams();
  let address = path;
  for (const field of form.querySelectorAll("[data-in]")) {
    if (!field.value) continue;
    if (field.dataset.in === "path") address = address.replace(`{${field.name}}`, encodeURIComponent(field.value));
    if (field.dataset.in === "query") query.append(field.name, field.value);
    if (field.dataset.in === "header") headers[field.name] = field.value;
  }
  if (address.includes("{")) { output.textContent = "Fill in the part of the path first."; return; }
  if (key.value) headers.Authorization = `Bearer ${key.value}`;
  const text = form.querySelector("textarea");
  const file = form.querySelector("input[type=file]");
  if (text) headers["Content-Type"] = "application/json";
  if (file) headers["Content-Type"] = file.dataset.type;
  const body = text ? text.value : file ? file.files[0] : undefined;
  button.disabled = true;
  output.textContent = "…";
  pictures.replaceChildren();
  try {
    const started = performance.now();
    const target = query.size ? `${address}?${query}` : address;
    const answer = await fetch(target, { method: method.toUpperCase(), headers, body });
    await read(answer, output, started);
    pictures.replaceChildren(...picturesOf(output.dataset.body || ""));
  } catch (error) {
    output.textContent = `There was no answer: ${error.message}`;
  } finally {
    button.disabled = false;
  }
}

async function read(answer, output, started) {
  const type = answer.headers.get("Content-Type") || "";
  const kept = ["RateLimit", "Location", "Retry-After", "X-Request-Id", "Preference-Applied"];
  const told = kept.filter((name) => answer.headers.has(name)).map((name) => `${name}: ${answer.headers.get(name)}`);
  const head = () => `${answer.status} ${answer.statusText}  (${Math.round(performance.now() - started)} ms)\n${told.join("\n")}\n\n`;
  output.dataset.body = "";
  if (!type.startsWith("text/event-stream")) {
    const text = await answer.text();
    output.dataset.body = text;
    output.textContent = head() + shown(text, type);
    return;
  }
  const stream = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (let piece = await stream.read(); !piece.done; piece = await stream.read()) {
    text += piece.value;
    output.textContent = head() + text;
  }
}

function parameterRow(parameter) {
  const words = resolved(parameter.schema);
  return el("tr", {},
    el("td", {}, el("code", {}, parameter.name), parameter.required ? el("span", { class: "needed" }, " required") : null),
    el("td", {}, el("div", {}, ...said(parameter.description)), el("div", { class: "about" }, `${parameter.in}; ${typeOf(words)}`),
      el("input", { name: parameter.name, "data-in": parameter.in, "aria-label": parameter.name })));
}

function fill(form, method, path, operation) {
  const bodies = operation.requestBody ? operation.requestBody.content : {};
  const content = bodies["application/json"];
  const fileType = content ? null : Object.keys(bodies)[0];
  if (operation.description) form.append(el("p", { class: "said" }, ...said(operation.description)));
  const output = el("pre", { "aria-live": "polite" }, "The answer will stand here.");
  const pictures = el("div", { class: "pictures" });
  const button = el("button", { type: "submit" }, "Send");
  form.addEventListener("submit", (event) => { event.preventDefault(); send(method, path, operation, form, output, pictures, button); });
  if ((operation.parameters || []).length) {
    form.append(el("h4", {}, "Parameters"), el("table", {}, ...operation.parameters.map(parameterRow)));
  }
  if (fileType) form.append(el("h4", {}, "Body"), el("input", { type: "file", "data-type": fileType, "aria-label": "file" }));
  if (content) {
    const text = el("textarea", { spellcheck: "false", "aria-label": "body" });
    text.value = JSON.stringify(exampleOf(content), null, 2);
    const picks = Object.entries(content.examples || {}).map(([name, example]) =>
      el("button", { type: "button", class: "plain", onclick: () => { text.value = JSON.stringify(example.value, null, 2); } }, name));
    const fields = el("details", {}, el("summary", {}, "All fields"), el("table", {}, ...rows(resolved(content.schema))));
    form.append(el("h4", {}, "Body"), fields, el("div", { class: "try" }, ...picks), text);
  }
  form.append(el("div", { class: "try" }, button), output, pictures, el("h4", {}, "Answers"), ...answersOf(operation));
}

function answersOf(operation) {
  return Object.entries(operation.responses).map(([status, given]) => {
    const answer = resolved(given);
    const [type, content] = Object.entries(answer.content || {})[0] || [];
    const example = content && content.example;
    const text = typeof example === "string" ? example : JSON.stringify(example, null, 2);
    const headers = Object.entries(answer.headers || {}).map(([name, header]) =>
      el("tr", {}, el("td", {}, el("code", {}, name)), el("td", {}, ...said(resolved(header).description))));
    return el("details", { class: "answer" },
      el("summary", {}, el("code", { class: `status s${status[0]}` }, status), " ", ...said(answer.description)),
      type ? el("p", { class: "about" }, type) : null,
      example === undefined ? null : el("pre", {}, text),
      headers.length ? el("table", {}, ...headers) : null);
  });
}

function operationBox(method, path, operation) {
  const form = el("form", { class: "body" });
  const box = el("details", { class: "operation", id: operation.operationId },
    el("summary", {}, el("span", { class: `method ${method}` }, method), el("span", { class: "path" }, path),
      el("span", { class: "about" }, operation.summary || "")), form);
  // Filled when it is opened: there are more than a hundred.
  box.addEventListener("toggle", () => { if (box.open && !form.childElementCount) fill(form, method, path, operation); });
  box.dataset.words = `${path} ${operation.summary || ""}`.toLowerCase();
  return box;
}

function section(tag, operations) {
  const boxes = operations.filter(([, , operation]) => operation.tags.includes(tag.name)).map((each) => operationBox(...each));
  return el("section", { id: idOf(tag.name) }, el("h2", {}, tag.name), el("p", { class: "lead" }, ...said(tag.description)), ...boxes);
}

function idOf(tag) {
  return "tag-" + tag.toLowerCase().replace(/[^a-z0-9]+/g, "-");
}

function menuOf(group) {
  const entries = group.tags.map((name) =>
    el("li", {}, el("a", { href: `#${idOf(name)}` }, name.replace(`${group.name}: `, "").replace(/^./, (first) => first.toUpperCase()))));
  return [el("h2", {}, group.name), el("ul", {}, ...entries)];
}

function render() {
  const operations = Object.entries(reference.paths).flatMap(([path, methods]) =>
    METHODS.filter((method) => methods[method]).map((method) => [method, path, methods[method]]));
  document.querySelector(".menu nav").replaceChildren(...reference["x-tagGroups"].flatMap(menuOf));
  main.replaceChildren(el("h1", {}, "API reference"), intro(), ...reference.tags.map((tag) => section(tag, operations)));
  follow();
  open();
}

function intro() {
  return el("p", { class: "intro" },
    "Choose the dialect of your client: jobs of our own, OpenAI's Images API, ModelsLab's API, or that of AUTOMATIC1111's web interface. All of them share keys, models, quotas and jobs. Type your key above and every endpoint can be tried from here. New to it? ",
    el("a", { href: "/docs/guides/getting-started" }, "Begin with the guides"), ".");
}

// The menu shows where the reader is.
function follow() {
  const links = new Map([...document.querySelectorAll(".menu li a")].map((link) => [link.hash.slice(1), link]));
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      for (const link of links.values()) link.removeAttribute("aria-current");
      links.get(entry.target.id)?.setAttribute("aria-current", "true");
    }
  }, { rootMargin: "-10% 0px -80% 0px" });
  for (const each of main.querySelectorAll("section")) seen.observe(each);
}

// A link to an endpoint opens it.
function open() {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target) return;
  if (target.matches("details")) target.open = true;
  target.scrollIntoView();
}
addEventListener("hashchange", open);

document.getElementById("tools").addEventListener("submit", (event) => event.preventDefault());
document.getElementById("find").addEventListener("input", (event) => {
  const words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const box of main.querySelectorAll("details.operation")) box.hidden = !words.every((word) => box.dataset.words.includes(word));
  for (const each of main.querySelectorAll("section")) each.hidden = !each.querySelector("details.operation:not([hidden])");
});

fetch("/v1/openapi.json").then((answer) => answer.json()).then((found) => { reference = found; render(); })
  .catch((error) => { main.replaceChildren(el("p", {}, `The reference could not be read: ${error.message}. Reload the page.`)); });
