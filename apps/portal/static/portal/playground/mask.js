/** A mask, painted over the picture: white is made anew. It is uploaded when it is asked for. */

import { el, newId } from "./dom.js";
import { dropZone, keep, pictureOf, thumbnail } from "./pictures.js";

const INK_BYTES = [255, 64, 96];
const INK = `rgb(${INK_BYTES})`;
/** Of a pixel's opacity: below it the soft edge of a stroke counts as nothing. */
const HALF = 127;
const UNDO_STEPS = 20;

/** The painting surface over one picture. */
class Easel {
  constructor(picture, { words, changed }) {
    this.words = words;
    this.changed = changed;
    this.earlier = [];
    this.isErasing = false;
    this.last = null;
    this.image = el("img", { src: picture.address, alt: "", draggable: "false" });
    this.canvas = el("canvas", { tabindex: 0, role: "img", "aria-label": words.mask_hint });
    this.pen = this.canvas.getContext("2d", { willReadFrequently: true });
    this.size = el("input", {
      type: "range",
      class: "form-range",
      min: 4,
      max: 200,
      value: 48,
      "aria-label": words.brush,
    });
    // Its size is the picture's, and setting it wipes it: nobody can paint before the picture is there.
    this.canvas.hidden = true;
    this.image.addEventListener("load", () => {
      this.canvas.width = this.image.naturalWidth;
      this.canvas.height = this.image.naturalHeight;
      this.canvas.hidden = false;
    });
    this.listen();
    this.node = el("div", {}, el("div", { class: "pg-easel" }, this.image, this.canvas), this.tools());
  }

  listen() {
    this.canvas.addEventListener("pointerdown", (event) => {
      this.canvas.setPointerCapture(event.pointerId);
      this.remember();
      this.last = this.point(event);
      this.stroke(this.last, this.last);
    });
    this.canvas.addEventListener("pointermove", (event) => {
      if (!this.last) return;
      const next = this.point(event);
      this.stroke(this.last, next);
      this.last = next;
    });
    for (const name of ["pointerup", "pointercancel"]) {
      this.canvas.addEventListener(name, () => {
        if (this.last) this.changed();
        this.last = null;
      });
    }
    this.canvas.addEventListener("keydown", (event) => {
      if (event.key === "z" && (event.ctrlKey || event.metaKey)) this.undo();
    });
  }

  tools() {
    const { words } = this;
    const button = (text, act, label) =>
      el(
        "button",
        { type: "button", class: "btn btn-outline-secondary btn-sm", "aria-label": label, onclick: act },
        text,
      );
    const eraser = button(words.erase, () => {
      this.isErasing = !this.isErasing;
      eraser.classList.toggle("active", this.isErasing);
      eraser.setAttribute("aria-pressed", String(this.isErasing));
    });
    eraser.setAttribute("aria-pressed", "false");
    return el(
      "div",
      { class: "pg-tools" },
      el("span", { class: "small", "aria-hidden": "true" }, words.brush),
      this.size,
      eraser,
      button("↶", () => this.undo(), words.undo),
      button(words.invert, () => this.invert()),
      button(words.clear, () => this.clear()),
    );
  }

  /** Where the pointer is, in the picture's own pixels. */
  point(event) {
    const box = this.canvas.getBoundingClientRect();
    return [
      ((event.clientX - box.left) / box.width) * this.canvas.width,
      ((event.clientY - box.top) / box.height) * this.canvas.height,
    ];
  }

  stroke(from, to) {
    this.pen.globalCompositeOperation = this.isErasing ? "destination-out" : "source-over";
    this.pen.strokeStyle = INK;
    this.pen.lineCap = "round";
    // The brush has the same size on the screen whatever the picture's own size is.
    this.pen.lineWidth = Number(this.size.value) * (this.canvas.width / Math.max(this.canvas.clientWidth, 1));
    this.pen.beginPath();
    this.pen.moveTo(...from);
    this.pen.lineTo(...to);
    this.pen.stroke();
  }

  pixels() {
    return this.pen.getImageData(0, 0, this.canvas.width, this.canvas.height);
  }

  remember() {
    this.earlier.push(this.pixels());
    if (this.earlier.length > UNDO_STEPS) this.earlier.shift();
  }

  undo() {
    const before = this.earlier.pop();
    if (before) this.pen.putImageData(before, 0, 0);
    this.changed();
  }

  /** `paint` gives the four bytes of a pixel that was painted, or was not. */
  each(paint) {
    this.remember();
    const pixels = this.pixels();
    for (let at = 0; at < pixels.data.length; at += 4) {
      pixels.data.set(paint(pixels.data[at + 3] > HALF), at);
    }
    this.pen.putImageData(pixels, 0, 0);
    this.changed();
  }

  invert() {
    this.each((isPainted) => [...INK_BYTES, isPainted ? 0 : 255]);
  }

  clear() {
    this.each(() => [0, 0, 0, 0]);
  }

  /** The mask as a PNG in black and white; null where nothing is painted. */
  async mask() {
    if (!this.canvas.width) return null;
    const pixels = this.pixels();
    let isPainted = false;
    for (let at = 0; at < pixels.data.length; at += 4) {
      const white = pixels.data[at + 3] > HALF ? 255 : 0;
      isPainted ||= white > 0;
      pixels.data.set([white, white, white, 255], at);
    }
    if (!isPainted) return null;
    const copy = el("canvas", { width: this.canvas.width, height: this.canvas.height });
    copy.getContext("2d").putImageData(pixels, 0, 0);
    return new Promise((done) => copy.toBlob(done, "image/png"));
  }
}

/** Painted over the picture of the same form, or uploaded. */
export function maskControl(field, context) {
  const { words } = context;
  const place = el("div");
  let surface;
  let uploaded;
  let kept;

  function changed() {
    kept = undefined;
    context.changed();
  }

  function show() {
    const picture = context.pictures.image;
    surface = undefined;
    if (uploaded) {
      place.replaceChildren(thumbnail(uploaded, { label: field.label, words, onRemove: () => use(undefined) }));
    } else if (picture?.address) {
      surface = new Easel(picture, { words, changed });
      place.replaceChildren(el("p", { class: "form-text mt-0" }, words.mask_hint), surface.node, zone);
    } else {
      place.replaceChildren(el("p", { class: "form-text mt-0" }, words.mask_first), zone);
    }
  }

  function use(picture) {
    uploaded = picture;
    show();
    changed();
  }

  const zone = dropZone({ id: newId(field.name), words: words.upload_mask, label: field.label, onPicture: use });
  zone.classList.add("pg-drop-small");
  context.onPicture((name) => name === "image" && !uploaded && show());
  show();
  return {
    node: el("div", { class: "pg-field" }, el("div", { class: "form-label" }, field.label), place),
    async get({ isFinal = true } = {}) {
      if (uploaded) return uploaded.id;
      if (!surface) return undefined;
      // An estimate does not need the strokes, and asks after each.
      if (!isFinal) return kept?.id;
      const blob = kept ? null : await surface.mask();
      if (blob) kept = await keep(blob);
      return kept?.id;
    },
    set: (value) => use(value ? pictureOf(value) : undefined),
  };
}
