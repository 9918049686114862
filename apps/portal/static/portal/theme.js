"use strict";
// Runs before anything is drawn, so that a dark page does not flash white first.
(() => {
  const root = document.documentElement;
  const prefersDark = matchMedia("(prefers-color-scheme: dark)");
  const apply = () => {
    const chosen = root.dataset.theme;
    root.dataset.bsTheme = chosen === "system" ? (prefersDark.matches ? "dark" : "light") : chosen;
    document.dispatchEvent(new CustomEvent("darkroom:theme"));
  };
  apply();
  prefersDark.addEventListener("change", apply);
  globalThis.darkroomTheme = (chosen) => {
    root.dataset.theme = chosen;
    const secure = location.protocol === "https:" ? "; Secure" : "";
    document.cookie = `darkroom_theme=${chosen}; Path=/; Max-Age=31536000; SameSite=Lax${secure}`;
    apply();
  };
})();
