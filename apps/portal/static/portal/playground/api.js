/** The native API with the session of this page. */

const root = document.getElementById("playground");

/** A refusal in the server's words; `pointer` is where in the body the fault is. */
export class Refusal extends Error {
  constructor(status, problem) {
    super(problem.detail || problem.title || `HTTP ${status}`);
    this.status = status;
    this.code = problem.code || "";
    this.pointer = problem.errors?.[0]?.pointer || "";
  }
}

/** Sends a request and gives its JSON. Throws Refusal, also when there is no answer. */
export async function call(method, path, { json, blob, headers = {}, signal } = {}) {
  const all = { Accept: "application/json", "X-CSRFToken": root.dataset.csrf, ...headers };
  if (json !== undefined) all["Content-Type"] = "application/json";
  if (blob) all["Content-Type"] = blob.type || "application/octet-stream";
  const body = json === undefined ? blob : JSON.stringify(json);
  let response;
  try {
    response = await fetch(path, { method, headers: all, body, signal, credentials: "same-origin" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal(0, { detail: root.dataset.offline });
  }
  if (response.status === 204) return null;
  const answer = await response.json().catch(() => ({}));
  // A session that has ended is sent to the sign-in, which is no JSON.
  if (response.redirected && !Object.keys(answer).length) window.location.reload();
  if (!response.ok) throw new Refusal(response.status, answer);
  return answer;
}

/** Keeps a picture on the server for an hour; gives its id, width and height. */
export function upload(blob) {
  return call("POST", "/v1/uploads", { blob });
}

/** The bytes behind an image of this server. */
export async function bytesOf(address) {
  const response = await fetch(address, { credentials: "same-origin" });
  if (!response.ok) throw new Refusal(response.status, {});
  return response.blob();
}
