"use strict";

/* A key presses its button, once a page: a key that is held down or bounces gives one verdict. */

let sent = false;

addEventListener("pageshow", () => {
  sent = false;
});

addEventListener("submit", (event) => {
  if (sent) {
    event.preventDefault();
  }
  sent = true;
});

addEventListener("keydown", (event) => {
  if (event.repeat || event.ctrlKey || event.metaKey || event.altKey) {
    return;
  }
  const key = event.key.toLowerCase();
  const buttons = [...document.querySelectorAll("button[data-key]")];
  const button = buttons.find((one) => one.dataset.key === key);
  if (button) {
    event.preventDefault();
    button.click();
  }
});
