// The caller's bearer token. It lives in this tab's sessionStorage and goes nowhere but to this gateway.

import { byId } from "./dom.js";

const KEY = "fovea.token";

export const token = () => sessionStorage.getItem(KEY) ?? "";

export function headers() {
  return token() ? { authorization: `Bearer ${token()}` } : {};
}

export class AccessDialog {
  constructor(changed) {
    this.dialog = byId("access");
    this.field = byId("token");
    this.changed = changed;
    byId("access-open").addEventListener("click", () => this.open());
    byId("access-forget").addEventListener("click", () => this.keep(""));
    byId("access-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.keep(this.field.value.trim());
    });
  }

  open() {
    if (this.dialog.open) return;
    this.field.value = token();
    this.dialog.showModal();
    this.field.focus();
  }

  keep(value) {
    if (value) sessionStorage.setItem(KEY, value);
    else sessionStorage.removeItem(KEY);
    this.dialog.close();
    this.changed();
  }
}
