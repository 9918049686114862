"use strict";
// What every page does: theme, toasts, dialogs, copy buttons, forms that are sent once.
(() => {
  const TOAST_MS = 9000;

  document.addEventListener("click", (event) => {
    const target = event.target.closest("button, a");
    if (!target) return;
    if (target.dataset.themeChoice) darkroomTheme(target.dataset.themeChoice);
    if (target.dataset.dialog) document.getElementById(target.dataset.dialog)?.showModal();
    if ("dialogClose" in target.dataset) target.closest("dialog")?.close();
    if ("toastClose" in target.dataset) target.closest("[data-toast]").remove();
    if (target.dataset.copy !== undefined) copy(target);
  });

  // A click beside a dialog closes it, as Escape does.
  document.addEventListener("mousedown", (event) => {
    if (event.target instanceof HTMLDialogElement) event.target.close();
  });

  // A second click while the first is under way sends nothing; the server would take it for the same act, too.
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.method !== "post" || form.hasAttribute("hx-post")) return;
    if (form.dataset.sent) { event.preventDefault(); return; }
    form.dataset.sent = "yes";
    form.setAttribute("aria-busy", "true");
  });
  // A page that comes back from the browser's memory may be sent again.
  addEventListener("pageshow", () => {
    for (const form of document.querySelectorAll("form[data-sent]")) {
      delete form.dataset.sent;
      form.removeAttribute("aria-busy");
    }
  });

  async function copy(button) {
    const source = button.dataset.copy ? document.getElementById(button.dataset.copy) : button.closest("[data-copy-from]");
    const text = source instanceof HTMLInputElement ? source.value : source.textContent.trim();
    let isCopied = true;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      isCopied = selectAndCopy(source);
    }
    if (!isCopied) return;
    button.classList.add("is-copied");
    const label = button.dataset.copied;
    if (label) darkroomToast(label, "success");
    setTimeout(() => button.classList.remove("is-copied"), 1600);
  }

  // Plain http on another machine than this has no clipboard interface.
  function selectAndCopy(source) {
    const selection = getSelection();
    if (source instanceof HTMLInputElement) source.select();
    else selection.selectAllChildren(source);
    return document.execCommand("copy");
  }

  globalThis.darkroomToast = (text, level = "info") => {
    const box = document.getElementById("toasts");
    const toast = document.createElement("div");
    toast.className = `toast show toast-${level}`;
    toast.dataset.toast = "";
    const words = document.createElement("span");
    words.className = "toast-text";
    words.textContent = text;
    const close = document.createElement("button");
    close.type = "button";
    close.className = "btn-plain";
    close.dataset.toastClose = "";
    close.setAttribute("aria-label", box.dataset.close);
    close.textContent = "×";
    toast.append(words, close);
    box.append(toast);
    fade(toast);
  };

  // What went wrong stays until it is closed.
  function fade(toast) {
    if (toast.classList.contains("toast-error")) return;
    setTimeout(() => toast.remove(), TOAST_MS);
  }
  for (const toast of document.querySelectorAll("[data-toast]")) fade(toast);

  // Selects and dates that apply at once; the form has a button for those without scripts.
  document.addEventListener("change", (event) => {
    const form = event.target.closest("form[data-auto-submit]");
    if (form) form.requestSubmit();
  });

  document.addEventListener("htmx:responseError", (event) => {
    darkroomToast(document.body.dataset.failed || `${event.detail.xhr.status}`, "error");
  });
})();
