"use strict";
// The keyboard belongs to the terminal from its first byte on, and again when the window comes back.
addEventListener("load", () => {
  const focus = () => document.querySelector(".xterm-helper-textarea")?.focus();
  new MutationObserver((_, observer) => {
    if (!document.body.classList.contains("-first-byte")) return;
    observer.disconnect();
    focus();
  }).observe(document.body, { attributeFilter: ["class"] });
  addEventListener("focus", focus);
  focus();
});
