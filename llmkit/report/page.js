"use strict";

/* What a reader does with the page: choose what a section shows, go from a bar to its answers, change the theme.
   Everything shown is in the page already; this script decides none of it. */

const byId = (id) => document.getElementById(id);

function choices() {
  for (const choice of document.querySelectorAll(".choice")) {
    const select = choice.querySelector("select");
    const shown = choice.querySelector(".chosen");
    const others = [...choice.querySelectorAll("template")];
    const variants = [
      [...shown.childNodes],
      ...others.map((template) => [...template.content.childNodes]),
    ];
    select.addEventListener("change", () => {
      shown.replaceChildren(...variants[select.selectedIndex]);
    });
  }
}

function links() {
  document.addEventListener("click", (event) => {
    const bar = event.target.closest("button[data-arm]");
    if (bar) {
      go({ arm: bar.dataset.arm, condition: bar.dataset.condition });
    }
  });
}

/* The theme is the system's, or as chosen; the choice is kept where the browser lets a file keep something. */
function theme() {
  const names = ["auto", "light", "dark"];
  const key = "llmkit-theme";
  const button = byId("theme");
  let current = "auto";
  try {
    const kept = localStorage.getItem(key);
    current = names.includes(kept) ? kept : "auto";
  } catch {
    /* no storage */
  }
  const apply = () => {
    if (current === "auto") {
      delete document.documentElement.dataset.theme;
    } else {
      document.documentElement.dataset.theme = current;
    }
    const words = current === "auto" ? "as the system" : current;
    button.textContent = `Theme: ${current}`;
    button.setAttribute("aria-label", `Colour theme: ${words}`);
    try {
      localStorage.setItem(key, current);
    } catch {
      /* no storage */
    }
  };
  button.addEventListener("click", () => {
    current = names[(names.indexOf(current) + 1) % names.length];
    apply();
  });
  apply();
}

theme();
choices();
links();
