const REMEMBERED = "darkroom-docs-language";

// One choice of language counts for every sample, here and on the next page.
function choose(language) {
  for (const sample of document.querySelectorAll(".sample")) {
    const tabs = [...sample.querySelectorAll("[role=tab]")];
    if (!tabs.some((tab) => tab.dataset.language === language)) continue;
    for (const tab of tabs) {
      tab.setAttribute("aria-selected", String(tab.dataset.language === language));
      tab.tabIndex = tab.dataset.language === language ? 0 : -1;
    }
    for (const panel of sample.querySelectorAll("[role=tabpanel]")) panel.hidden = panel.dataset.language !== language;
  }
}

function remember(language) {
  try { localStorage.setItem(REMEMBERED, language); } catch { /* a browser that keeps nothing still shows it */ }
}

for (const tab of document.querySelectorAll("[role=tab]")) {
  tab.addEventListener("click", () => {
    // What is above changes its height: the sample stays where the reader looks.
    const before = tab.getBoundingClientRect().top;
    choose(tab.dataset.language);
    scrollBy({ top: tab.getBoundingClientRect().top - before, behavior: "instant" });
    remember(tab.dataset.language);
  });
  tab.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const tabs = [...tab.parentElement.children];
    const next = tabs[(tabs.indexOf(tab) + step + tabs.length) % tabs.length];
    next.click();
    next.focus();
  });
}

async function copied(text) {
  // Only pages of https and of this machine have a clipboard.
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const field = document.createElement("textarea");
  field.value = text;
  document.body.append(field);
  field.select();
  document.execCommand("copy");
  field.remove();
}

for (const button of document.querySelectorAll(".copy")) {
  button.addEventListener("click", async () => {
    await copied(button.closest(".code").querySelector("pre:not([hidden])").textContent);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
}

try { choose(localStorage.getItem(REMEMBERED)); } catch { /* the first tab it is */ }
