/** What came of jobs: pictures to open, download, use again and delete; words as words. */

import { call } from "./api.js";
import { el, fill, here, icon, toast } from "./dom.js";

const TRACK = "playground";
const PAGE = 12;

/** Jobs of this page, newest first; the mark is how the list finds them. */
export class Gallery {
  constructor({ place, more, words, actions }) {
    this.place = place;
    this.more = more;
    this.words = words;
    this.actions = actions;
    this.cursor = "";
    this.more.addEventListener("click", () => this.load());
    this.lightbox = document.getElementById("pg-lightbox");
    this.lightbox.addEventListener("click", () => this.lightbox.close());
  }

  static get mark() {
    return TRACK;
  }

  /** The next page of earlier jobs; gives those that are still open, for somebody else to follow. */
  async load() {
    const query = new URLSearchParams({ track_id: TRACK, limit: PAGE });
    if (this.cursor) query.set("cursor", this.cursor);
    const page = await call("GET", `/v1/jobs?${query}`);
    this.cursor = page.next_cursor || "";
    this.more.hidden = !this.cursor;
    const open = page.items.filter((job) => !job.finished_at);
    const shown = page.items.filter((job) => job.images.length).map((job) => this.card(job));
    this.place.append(...shown);
    this.update();
    return open;
  }

  add(job) {
    const card = this.card(job);
    this.place.prepend(card);
    this.update();
    return card;
  }

  update() {
    document.getElementById("pg-empty").hidden = this.place.children.length > 0;
  }

  card(job) {
    const card = el("article", { class: "panel panel-flush pg-result", dataset: { job: job.id } });
    const images = job.images.map((image) => this.image(image));
    if (images.length) card.append(el("div", { class: images.length > 1 ? "pg-images pg-images-many" : "pg-images" }, images));
    card.append(el("div", { class: "pg-body" }, this.text(job), this.buttons(job, card)));
    return card;
  }

  image(image) {
    const address = here(image.url);
    const alt = `${fill(this.words.size, image)}, ${fill(this.words.seed, image)}`;
    return el(
      "button",
      { type: "button", class: "pg-image", "aria-label": `${this.words.open}: ${alt}`, onclick: () => this.open(address, alt) },
      el("img", { src: address, alt, width: image.width, height: image.height, loading: "lazy" }),
    );
  }

  open(address, alt) {
    const image = this.lightbox.querySelector("img");
    image.src = address;
    image.alt = alt;
    this.lightbox.showModal();
  }

  text(job) {
    if (job.error) {
      return el(
        "div",
        { class: "notice notice-bad mb-2", role: "alert" },
        el(
          "div",
          {},
          el("strong", {}, job.state === "canceled" ? this.words.canceled : this.words.failed),
          el("div", { class: "small" }, job.error.message),
        ),
      );
    }
    if (job.state === "canceled") return el("p", { class: "mb-2 quiet" }, this.words.canceled);
    const caption = job.result?.caption;
    if (caption) return el("blockquote", { class: "mb-2" }, caption);
    if (!job.images.length) return el("pre", { class: "small mb-2" }, JSON.stringify(job.safety || job.result, null, 2));
    const [first] = job.images;
    return el(
      "p",
      { class: "small quiet mb-2" },
      `#${job.id} · ${fill(this.words.size, first)} · ${fill(this.words.seed, first)}`,
    );
  }

  buttons(job, card) {
    const button = (name, text, act) =>
      el("button", { type: "button", class: "btn btn-sm btn-outline-secondary", onclick: act }, icon(name), ` ${text}`);
    const row = el("div", { class: "d-flex flex-wrap gap-2" });
    job.images.slice(0, 1).forEach((image) => row.append(this.download(image, job)));
    row.append(button("arrow-repeat", this.words.reuse, () => this.actions.reuse(job)));
    if (job.images.length) {
      row.append(this.useAs(job));
      row.append(button("trash", this.words.delete, () => this.remove(job, card)));
    }
    return row;
  }

  download(image, job) {
    const name = `darkroom-${job.id}.${image.media_type.split("/")[1]}`;
    return el(
      "a",
      { class: "btn btn-sm btn-outline-secondary", href: here(image.url), download: name },
      icon("download"),
      ` ${this.words.download}`,
    );
  }

  useAs(job) {
    const options = this.actions.kindsWithPicture().map((kind) => el("option", { value: kind.code }, kind.label));
    const select = el(
      "select",
      { class: "form-select form-select-sm pg-use", "aria-label": this.words.use_as },
      el("option", { value: "" }, this.words.use_as),
      options,
    );
    select.addEventListener("change", () => {
      this.actions.use(here(job.images[0].url), select.value);
      select.value = "";
    });
    return select;
  }

  async remove(job, card) {
    if (!window.confirm(this.words.delete_sure)) return;
    try {
      await call("DELETE", here(job.links.self));
      card.remove();
      this.update();
    } catch (error) {
      toast(error.message, "error");
    }
  }
}
