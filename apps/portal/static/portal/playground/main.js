/** The playground: puts the form, the jobs under way, the gallery and the code together. */

import { Refusal, call } from "./api.js";
import { LANGUAGES } from "./code.js";
import { debounced, el, fill, newName, pageData, toast } from "./dom.js";
import { Form } from "./form.js";
import { Gallery } from "./gallery.js";
import { firstModel } from "./models.js";
import { keepFrom } from "./pictures.js";
import { follow } from "./runs.js";

const MICRO = 1_000_000;
const ESTIMATE_MS = 500;

const root = document.getElementById("playground");
const { form: description, words, base_url: baseUrl, ...asked } = pageData("playground-data");
const place = (name) => document.getElementById(`pg-${name}`);
const submit = place("submit");
let language = LANGUAGES[0];
let question = null;

const form = new Form({
  place: place("fields"),
  description,
  words,
  onChange: () => {
    estimateSoon();
    showCodeSoon();
  },
});
const gallery = new Gallery({
  place: place("gallery"),
  more: place("more"),
  words,
  actions: {
    reuse: (job) => reuse(`${root.dataset.jobs}${job.id}`, fill(words.settings_job, { id: job.id })),
    use: useAsInput,
    kindsWithPicture: () => description.kinds.filter((kind) => kind.fields.includes("image")),
  },
});

// --- Kinds ---

function drawKinds() {
  const buttons = description.kinds.map((kind) =>
    el(
      "button",
      { type: "button", class: "pg-kind", title: kind.hint, dataset: { kind: kind.code }, onclick: () => showKind(kind.code) },
      kind.label,
    ),
  );
  place("kinds").replaceChildren(...buttons);
}

async function showKind(code) {
  await form.show(code);
  markKind();
  await chooseModel();
}

function markKind() {
  for (const button of place("kinds").children) {
    const isCurrent = button.dataset.kind === form.kind;
    button.setAttribute("aria-pressed", String(isCurrent));
    if (isCurrent) button.scrollIntoView({ block: "nearest", inline: "center" });
  }
  place("hint").textContent = form.kindRow.hint;
  point("");
}

/** Somebody who opens the page can press the button: the model that is used most is chosen for them. */
async function chooseModel() {
  if (!form.has("model") || (await form.controls.get("model").get())) return;
  const model = asked.model ? { name: asked.model } : await firstModel("checkpoint");
  if (model) form.set("model", model.name);
}

// --- Making ---

async function generate() {
  if (submit.disabled) return;
  submit.disabled = true;
  point("");
  try {
    const body = await form.body();
    const missing = form.missing(body);
    if (missing) throw new Refusal(400, { detail: fill(words.missing, { field: missing }) });
    await start(body);
  } catch (error) {
    point(error.pointer || "", error.message);
  } finally {
    submit.disabled = false;
  }
}

async function start(body) {
  const previews = form.kindRow.has_previews ? { previews: true } : {};
  const job = await call("POST", "/v1/jobs", {
    json: { ...body, ...previews, track_id: Gallery.mark },
    headers: { "Idempotency-Key": newName() },
  });
  // On a phone it stands below the whole form.
  const isNarrow = window.matchMedia("(max-width: 991px)").matches;
  watch(job).scrollIntoView({ block: isNarrow ? "start" : "nearest", behavior: "smooth" });
}

function watch(job) {
  place("empty").hidden = true;
  return follow(job, {
    place: place("live"),
    words,
    onDone: (ended) => {
      gallery.add(ended);
      document.dispatchEvent(new CustomEvent("playground:done", { detail: ended }));
    },
  });
}

/** Says what is wrong beside the button, and shows where. */
function point(pointer, text = "") {
  const note = place("error");
  note.textContent = text;
  note.hidden = !text;
  form.point(pointer);
}

// --- What it would take ---

const estimateSoon = debounced(estimate, ESTIMATE_MS);
const showCodeSoon = debounced(showCode, ESTIMATE_MS);

async function estimate() {
  question?.abort();
  question = new AbortController();
  const note = place("estimate");
  const body = await form.body({ isFinal: false });
  if (form.missing(body)) {
    note.textContent = "";
    return;
  }
  try {
    note.textContent = said(await call("POST", "/v1/estimate", { json: body, signal: question.signal }));
  } catch (error) {
    // A half-written form is refused, which the button will say when it is pressed.
    if (error.name !== "AbortError") note.textContent = "";
  }
}

function said(found) {
  const seconds = fill(words.estimate, { seconds: Math.max(1, Math.ceil(found.seconds)) });
  const price = (found.price_micro / MICRO).toLocaleString(document.documentElement.lang, {
    style: "currency",
    currency: "USD",
    maximumFractionDigits: 6,
  });
  // Null: it would be refused, and the price is what is missing.
  const money = words[`funding_${found.funding ?? "none"}`] || "{price}";
  return `${seconds} · ${fill(money, { price })}`;
}

// --- Code ---

function drawLanguages() {
  const tabs = LANGUAGES.map((each) =>
    el("button", { type: "button", onclick: () => pick(each), dataset: { language: each.code } }, each.label),
  );
  place("languages").replaceChildren(...tabs);
}

function pick(each) {
  language = each;
  showCode();
}

async function showCode() {
  for (const tab of place("languages").children) {
    tab.setAttribute("aria-pressed", String(tab.dataset.language === language.code));
  }
  place("code").textContent = language.write(baseUrl, await form.body({ isFinal: false }));
}

// --- Settings of what was made ---

async function reuse(path, said) {
  try {
    const { fields } = await call("GET", path);
    take(fields, said);
  } catch (error) {
    toast(error.message, "error");
  }
}

function take(fields, said) {
  if (!Object.keys(fields).length) {
    toast(words.settings_none, "warning");
    return;
  }
  form.fillWith(fields);
  markKind();
  chooseModel();
  toast(said, "success");
  place("fields").scrollIntoView({ block: "start", behavior: "smooth" });
}

async function readSettings(file) {
  try {
    const { fields } = await call("POST", root.dataset.picture, { blob: file });
    take(fields, words.settings_read);
  } catch (error) {
    toast(error.message, "error");
  }
}

async function useAsInput(address, kind) {
  try {
    const picture = await keepFrom(address);
    await showKind(kind);
    form.set("image", picture.id);
    place("fields").scrollIntoView({ block: "start", behavior: "smooth" });
  } catch (error) {
    toast(error.message, "error");
  }
}

function listen() {
  place("form").addEventListener("submit", (event) => {
    event.preventDefault();
    generate();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    generate();
  });
  const chosen = place("settings-file");
  chosen.addEventListener("change", () => {
    if (chosen.files[0]) readSettings(chosen.files[0]);
    chosen.value = "";
  });
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    const [file] = event.dataTransfer.files;
    if (file?.type.startsWith("image/")) readSettings(file);
  });
}

async function begin() {
  drawKinds();
  drawLanguages();
  listen();
  await showKind(asked.kind || description.kinds[0].code);
  if (asked.job) await reuse(`${root.dataset.jobs}${asked.job}`, fill(words.settings_job, { id: asked.job }));
  const open = await gallery.load().catch((error) => {
    toast(error.message, "error");
    return [];
  });
  open.reverse().forEach(watch);
  root.dataset.ready = "yes";
}

begin();
