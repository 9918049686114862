/** The map that a ControlNet would follow, made by a job of its own and shown below its picture. */

import { call } from "./api.js";
import { el, here } from "./dom.js";

const WAIT_S = 60;
const DETECTOR = ["type", "resolution_px", "threshold_a", "threshold_b"];

/** A button for one ControlNet of the form; `item` gives its values. */
export function mapPreview(item, { words }) {
  const place = el("div", { "aria-live": "polite" });
  const button = el("button", { type: "button", class: "btn btn-outline-secondary btn-sm" }, words.preview_map);
  button.addEventListener("click", async () => {
    button.disabled = true;
    place.replaceChildren(el("span", { class: "small quiet" }, words.starting));
    place.replaceChildren(...(await mapOf(await item.get(), words)));
    button.disabled = false;
  });
  return el("div", { class: "stack-tight" }, el("div", {}, button), place);
}

async function mapOf(values, words) {
  const detect = Object.fromEntries(DETECTOR.filter((name) => values[name] !== undefined).map((name) => [name, values[name]]));
  try {
    const job = await call("POST", "/v1/jobs", {
      json: { kind: "detect", image: values.picture, detect },
      headers: { Prefer: `wait=${WAIT_S}` },
    });
    if (job.images?.length) return [el("img", { class: "pg-map", src: here(job.images[0].url), alt: words.preview_map })];
    return [el("span", { class: "field-error" }, job.error?.message || words.failed)];
  } catch (error) {
    return [el("span", { class: "field-error" }, error.message)];
  }
}
