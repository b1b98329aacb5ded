// Questions to the user.

import { el } from "./dom.js";

/** Ask before something that can't be undone. Resolves to whether it is wanted. */
export function confirmed(question, yes) {
  return new Promise((resolve) => {
    const keep = el("button", { type: "submit", value: "no" }, "No, go back");
    const form = el(
      "form", { method: "dialog" },
      el("p", { id: "question" }, question),
      el("div", { class: "buttons" }, el("button", { type: "submit", value: "yes", class: "danger" }, yes), keep),
    );
    const dialog = el("dialog", { "aria-labelledby": "question" }, form);
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
    document.body.append(dialog);
    dialog.showModal();
    keep.focus();
  });
}

/** What is shown in place of everything to who has no token, or one without the right. */
export function tokenView(error, api, done) {
  const forbidden = error.status === 403;
  const input = el("input", { id: "token", type: "password", autocomplete: "off", spellcheck: "false", required: true });
  const form = el(
    "form", { class: "stack" },
    el("div", { class: "field" }, el("label", { for: "token" }, "Token"), input,
      el("p", { class: "hint" }, "It is kept until this tab is closed, and is sent in a header, never in an address.")),
    el("div", { class: "buttons" }, el("button", { type: "submit", class: "main" }, forbidden ? "Use another token" : "Sign in")),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    api.token = input.value.trim();
    done();
  });
  const shown = api.token !== "";
  const what = forbidden
    ? [el("strong", {}, "This token lacks the right operate."), " The console shows the whole server, so it needs a token whose ",
      el("code", {}, "penstock"), " claim has ", el("code", {}, '"operate": true'), "."]
    : [shown ? "The server does not take this token." : "This server asks for a token. The console needs one with the right ",
      shown ? null : el("code", {}, "operate"), shown ? null : "."];
  return el(
    "section", { class: "panel stack token", "aria-labelledby": "sign-in" },
    el("h2", { id: "sign-in" }, forbidden ? "The right to operate is missing" : "Sign in"),
    el("p", {}, what),
    shown ? el("p", { class: "fault", role: "alert" }, `The server says: ${error.message}`) : null,
    form,
  );
}
