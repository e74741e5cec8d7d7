// Tabs as the ARIA practices have them: arrow keys move, one tab is in the tab order. The address
// keeps which one is open.

import { roving } from "./dom.js";

/** Connects a list of tabs; `onShow(name)` is called with the panel's id. */
export function startTabs(list, onShow) {
  const tabs = [...list.querySelectorAll("[role=tab]")];

  let shown = null;
  function show(tab) {
    if (tab === shown) return;
    shown = tab;
    for (const other of tabs) {
      const on = other === tab;
      other.setAttribute("aria-selected", String(on));
      other.tabIndex = on ? 0 : -1;
      document.getElementById(other.getAttribute("aria-controls")).hidden = !on;
    }
    const name = tab.getAttribute("aria-controls");
    history.replaceState(null, "", `#${name}`);
    onShow(name);
  }

  roving(list, () => tabs, { vertical: false });
  for (const tab of tabs) {
    tab.addEventListener("focus", () => show(tab));
    tab.addEventListener("click", () => show(tab));
  }
  const asked = () => tabs.find((tab) => `#${tab.getAttribute("aria-controls")}` === location.hash);
  window.addEventListener("hashchange", () => asked() && show(asked()));
  show(asked() ?? tabs[0]);
}
