// Failures at the top of the page: what happened, what to do, and the id to look for in the log.

import { byId, element } from "./dom.js";

export function clear() {
  byId("alerts").replaceChildren();
}

export function show(failure, openAccess) {
  const said = element("div", {}, element("strong", {}, failure.message));
  if (failure.advice) said.append(element("p", {}, failure.advice));
  const known = [failure.reason, failure.requestId && `request ${failure.requestId}`].filter(Boolean);
  if (known.length) said.append(element("p", { class: "id" }, known.join(" · ")));
  const acts = element("div", { class: "row" });
  if (failure.needsToken) {
    acts.append(element("button", { type: "button", onclick: openAccess }, "Open access"));
  }
  acts.append(element("button", { type: "button", class: "quiet", onclick: clear }, "Dismiss"));
  byId("alerts").replaceChildren(element("div", { class: "alert", role: "alert" }, said, acts));
}
