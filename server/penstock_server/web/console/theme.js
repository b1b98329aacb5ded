// Dark or light: as the system says, until somebody says otherwise.

import { setText } from "./dom.js";

const KEY = "penstock.console.theme";
const THEMES = ["system", "light", "dark"];
const SIGNS = { system: "◐", light: "○", dark: "●" };

/** Let a button switch the theme; it says which it is. */
export function themeSwitch(button) {
  let chosen = stored();
  const show = () => {
    if (chosen === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = chosen;
    setText(button, `${SIGNS[chosen]} ${chosen}`);
    button.setAttribute("aria-label", `Theme: ${chosen}`);
  };
  button.addEventListener("click", () => {
    chosen = THEMES[(THEMES.indexOf(chosen) + 1) % THEMES.length];
    try {
      localStorage.setItem(KEY, chosen);
    } catch {
      // it lasts as long as the page
    }
    show();
  });
  show();
}

function stored() {
  try {
    const found = localStorage.getItem(KEY);
    return THEMES.includes(found) ? found : "system";
  } catch {
    return "system";
  }
}
