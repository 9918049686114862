/** Controls for pictures: chosen, dropped or pasted, kept on the server at once, named by their ids. */

import { bytesOf, upload } from "./api.js";
import { el, icon, newId, toast } from "./dom.js";

/** What uploaded pictures look like, by their ids: of those of earlier jobs we have no image. */
const looks = new Map();

/** Keeps `blob` on the server; gives `{id, address, width, height}`. */
export async function keep(blob) {
  const kept = await upload(blob);
  const picture = { id: kept.id, address: URL.createObjectURL(blob), width: kept.width, height: kept.height };
  looks.set(kept.id, picture);
  return picture;
}

/** Keeps an image of this server, so that a job may begin from it. */
export async function keepFrom(address) {
  return keep(await bytesOf(address));
}

/** What is known of an id that was kept before; its address is "" if this page has not seen it. */
export const pictureOf = (id) => looks.get(id) || { id, address: "", width: 0, height: 0 };

const imagesIn = (transfer) => [...(transfer?.files || [])].filter((file) => file.type.startsWith("image/"));

/** A place for one picture; `onPicture` hears of each change. */
export function dropZone({ id, words, label, onPicture, isMultiple = false }) {
  const input = el("input", {
    id,
    type: "file",
    accept: "image/png,image/jpeg,image/webp",
    class: "visually-hidden",
    multiple: isMultiple,
    onchange: () => take([...input.files]),
  });
  const text = el("span", {}, words);
  const zone = el(
    "label",
    { class: "pg-drop", for: id, tabindex: 0, "aria-label": `${label}: ${words}` },
    icon("image"),
    text,
  );

  async function take(files) {
    for (const file of isMultiple ? files : files.slice(0, 1)) {
      zone.classList.add("is-busy");
      try {
        await onPicture(await keep(file));
      } catch (error) {
        toast(error.message, "error");
      } finally {
        zone.classList.remove("is-busy");
        input.value = "";
      }
    }
  }

  zone.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      input.click();
    }
  });
  zone.addEventListener("paste", (event) => take(imagesIn(event.clipboardData)));
  for (const name of ["dragover", "dragleave", "drop"]) {
    zone.addEventListener(name, (event) => {
      event.preventDefault();
      // The page around it takes pictures, too, to read their settings.
      event.stopPropagation();
      zone.classList.toggle("is-over", name === "dragover");
      if (name === "drop") take(imagesIn(event.dataTransfer));
    });
  }
  return el("div", {}, input, zone);
}

/** A small picture with a button that takes it away. */
export function thumbnail(picture, { label, words, onRemove }) {
  const shown = picture.address
    ? el("img", { src: picture.address, alt: label })
    : el("span", { class: "small quiet" }, `${picture.id.slice(0, 12)}…`);
  const remove = el(
    "button",
    { type: "button", class: "btn-close", "aria-label": `${words.remove}: ${label}`, onclick: onRemove },
  );
  return el("div", { class: "pg-thumb" }, shown, remove);
}

/** One picture; `context.pictureChanged` lets the mask follow. */
export function pictureControl(field, context) {
  const { words } = context;
  const place = el("div");
  const id = newId(field.name);
  let current;

  const zone = dropZone({ id, words: words.choose_picture, label: field.label, onPicture: show });

  function show(picture) {
    current = picture;
    const thumb = current && thumbnail(current, { label: field.label, words, onRemove: () => show(undefined) });
    place.replaceChildren(thumb || zone);
    context.pictureChanged(field.name, current);
    context.changed();
  }

  place.append(zone);
  return {
    node: el("div", { class: "pg-field" }, el("div", { class: "form-label" }, field.label), place),
    get: () => current?.id,
    set: (value) => show(value ? pictureOf(value) : undefined),
  };
}

/** Several pictures. */
export function picturesControl(field, context) {
  const { words } = context;
  const place = el("div", { class: "pg-thumbs" });
  let pictures = [];

  const zone = dropZone({
    id: newId(field.name),
    words: words.add_picture,
    label: field.label,
    isMultiple: true,
    onPicture: (picture) => show([...pictures, picture]),
  });

  function show(next) {
    pictures = next;
    const thumbs = pictures.map((picture) =>
      thumbnail(picture, {
        label: field.label,
        words,
        onRemove: () => show(pictures.filter((other) => other !== picture)),
      }),
    );
    place.replaceChildren(...thumbs);
    zone.hidden = pictures.length >= field.most;
    context.changed();
  }

  return {
    node: el("div", { class: "pg-field" }, el("div", { class: "form-label" }, field.label), place, zone),
    get: () => (pictures.length ? pictures.map((picture) => picture.id) : undefined),
    set: (ids) => show((ids || []).map(pictureOf)),
  };
}
