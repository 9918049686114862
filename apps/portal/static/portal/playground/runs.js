/** Jobs under way: their place in the queue, their steps, what they look like so far, and how to stop them. */

import { call } from "./api.js";
import { el, fill, here } from "./dom.js";

const CLOSED = EventSource.CLOSED;
const RETRY_MS = 2000;

/** A card that follows one job until it has ended; `onDone` gets the whole job. */
export function follow(job, { place, words, onDone }) {
  const bar = el("div", { class: "progress-bar progress-bar-striped progress-bar-animated" });
  const progress = el(
    "div",
    { class: "progress", role: "progressbar", "aria-valuemin": 0, "aria-valuemax": 100, "aria-label": `#${job.id}` },
    bar,
  );
  const status = el("span", { role: "status" }, words.starting);
  const picture = el("img", { class: "pg-live-picture", alt: "", hidden: true });
  const cancel = el("button", { type: "button", class: "btn btn-outline-secondary btn-sm" }, words.cancel);
  const card = el(
    "article",
    { class: "panel panel-flush pg-live", dataset: { job: job.id } },
    picture,
    el(
      "div",
      { class: "pg-body" },
      el("div", { class: "d-flex justify-content-between align-items-center gap-2 mb-2" }, status, cancel),
      progress,
    ),
  );
  place.prepend(card);

  function say(state) {
    const total = state.total || 0;
    const share = total ? Math.round((state.step / total) * 100) : 0;
    bar.style.width = `${share}%`;
    progress.setAttribute("aria-valuenow", String(share));
    const wait = state.eta_s > 0 ? ` · ${fill(words.eta, { seconds: Math.ceil(state.eta_s) })}` : "";
    if (state.queue_position > 0) status.textContent = fill(words.queued, { place: state.queue_position }) + wait;
    else if (!state.step) status.textContent = words.starting + wait;
    else if (state.step >= total) status.textContent = words.finishing;
    else status.textContent = fill(words.running, { step: state.step, total }) + wait;
  }

  cancel.addEventListener("click", async () => {
    cancel.disabled = true;
    status.textContent = words.canceling;
    // One that has ended meanwhile says so by itself.
    await call("POST", `/v1/jobs/${job.id}/cancel`).catch(() => null);
  });

  watch(job, {
    onProgress: say,
    onPreview: (preview) => {
      picture.src = preview.image;
      picture.hidden = false;
    },
    onDone: (ended) => {
      card.remove();
      onDone(ended);
    },
  });
  return card;
}

/** The events of a job. Where a stream is refused for good, the job itself is asked for. */
function watch(job, { onProgress, onPreview, onDone }) {
  const stream = new EventSource(here(job.links.events));
  stream.addEventListener("progress", (event) => onProgress(JSON.parse(event.data)));
  stream.addEventListener("preview", (event) => onPreview(JSON.parse(event.data)));
  stream.addEventListener("done", (event) => {
    stream.close();
    onDone(JSON.parse(event.data));
  });
  stream.addEventListener("error", () => {
    if (stream.readyState === CLOSED) ask(job, onDone);
  });
  window.addEventListener("pagehide", () => stream.close());
}

async function ask(job, onDone) {
  const current = await call("GET", here(job.links.self)).catch((error) => ({ refusal: error }));
  if (current.finished_at) onDone(current);
  // Without an answer it may come back; a job that is gone (404) will not.
  else if (current.refusal?.status !== 404) setTimeout(() => ask(job, onDone), RETRY_MS);
}
