// The buttons: each asks first where it matters, and for the token once; the token is forgotten
// when the tab is closed.

import { told } from "./box-model";

const byId = <T extends HTMLElement>(id: string): T => document.getElementById(id) as T;

const KEY = "backrow-token";
let memory = "";

function token(): string {
  try {
    return window.sessionStorage.getItem(KEY) || memory;
  } catch (_) {
    // Private windows of old browsers have no storage.
    return memory;
  }
}

function remember(value: string): void {
  memory = value;
  try {
    if (value) window.sessionStorage.setItem(KEY, value);
    else window.sessionStorage.removeItem(KEY);
  } catch (_) {
    // As above.
  }
}

/** What is asked before an order is sent; nothing where an order harms nobody. */
const questions: { [order: string]: string } = {
  restart: "The stream breaks off for some seconds and goes on by itself.",
  reboot: "The box is off the air for about a minute.",
  update: "The box takes the update, then starts again and is off the air for a minute or two. If the new version does not work, it goes back by itself.",
  "factory-reset":
    "The box forgets its settings, tokens and keys, and starts again as it was when it was flashed. Its drive CONFIG then wants a site.toml.",
};

const busyWords: { [order: string]: string } = {
  diagnostics: "Collecting…",
  update: "Sending the update…",
};

let current = "";

function say(text: string, ok: boolean): void {
  const line = byId("told");
  line.textContent = text;
  line.setAttribute("data-ok", String(ok));
}

/** Opens the form for an order, or sends it when there is nothing to ask. */
function begin(order: string): void {
  current = order;
  const question = questions[order] || "";
  say("", true);
  if (!question && token()) {
    send(order);
    return;
  }
  byId("question").textContent = question;
  byId("for-update").hidden = order !== "update";
  byId("for-reset").hidden = order !== "factory-reset";
  byId("for-token").hidden = token() !== "";
  byId("form").hidden = false;
  if (!token()) byId("token").focus();
}

function close(): void {
  byId("form").hidden = true;
  byId<HTMLInputElement>("recordings").checked = false;
}

function request(order: string): { body: Blob | string | null; type: string } {
  if (order === "update") {
    const files = byId<HTMLInputElement>("bundle").files;
    const file = files && files[0];
    if (file) return { body: file, type: "application/octet-stream" };
    const url = byId<HTMLInputElement>("address").value.trim();
    return { body: JSON.stringify({ url }), type: "application/json" };
  }
  if (order === "factory-reset") {
    const recordings = byId<HTMLInputElement>("recordings").checked;
    return { body: JSON.stringify({ recordings }), type: "application/json" };
  }
  return { body: null, type: "" };
}

function send(order: string): void {
  const { body, type } = request(order);
  const headers: { [name: string]: string } = { Authorization: `Bearer ${token()}` };
  if (type) headers["Content-Type"] = type;
  say(busyWords[order] || "Asking the box…", true);
  fetch(`api/v1/${order}`, { method: "POST", headers, body, credentials: "omit" })
    .then((answer) => {
      const kind = answer.headers.get("content-type") || "";
      if (answer.ok && kind.indexOf("json") < 0) {
        const name = /filename="([^"]+)"/.exec(answer.headers.get("content-disposition") || "");
        return answer.blob().then((blob) => save(blob, (name && name[1]) || "diagnostics.tar.gz"));
      }
      return answer
        .json()
        .catch(() => null)
        .then((value: unknown) => {
          const result = told(answer.status, value);
          say(result.text, result.ok);
          if (result.token) {
            remember("");
            byId("for-token").hidden = false;
            byId("form").hidden = false;
            byId("token").focus();
          }
        });
    })
    .catch(() => say("The box did not answer. Look whether it did what you asked.", false));
}

function save(blob: Blob, name: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  document.body.appendChild(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  say(`Saved as ${name}.`, true);
}

export function startOrders(): void {
  const buttons = document.querySelectorAll("[data-order]");
  for (let at = 0; at < buttons.length; at += 1) {
    const button = buttons[at] as HTMLElement;
    button.addEventListener("click", () => begin(button.getAttribute("data-order") || ""));
  }
  byId("cancel").addEventListener("click", close);
  byId("form").addEventListener("submit", (event) => {
    event.preventDefault();
    const typed = byId<HTMLInputElement>("token").value.trim();
    if (typed) remember(typed);
    byId<HTMLInputElement>("token").value = "";
    if (!token()) {
      say("The token is missing.", false);
      return;
    }
    // `close` clears the choices: they are read before.
    const order = current;
    send(order);
    close();
  });
}
