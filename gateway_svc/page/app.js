// The assembly of the page, in order: access, server, intake, plans, question, usage.

import { AccessDialog } from "./access.js";
import * as alerts from "./alerts.js";
import { Answer } from "./answer.js";
import { Failure, get } from "./api.js";
import { byId } from "./dom.js";
import { Intake } from "./intake.js";
import { Usage } from "./usage.js";
import { View } from "./view.js";

const NAMES = ["A", "B"];
const NOTICED = "fovea.noticed";
const STATES = { serving: "", loading: "is being loaded", draining: "is stopping", failed: "has failed" };

class Page {
  constructor() {
    this.access = new AccessDialog(() => this.readServer());
    const failed = (failure) => this.failed(failure);
    this.model = "";
    this.picture = null;
    this.running = null;
    this.views = [new View(NAMES[0], failed)];
    this.answers = [new Answer(NAMES[0], failed)];
    byId("views").append(this.views[0].root);
    byId("answers").append(this.answers[0].root);
    this.usage = new Usage(failed);
    this.intake = new Intake((picture) => this.open(picture), failed);
    byId("question-form").addEventListener("submit", (event) => this.ask(event));
    byId("question").addEventListener("change", () => this.views.forEach((view) => view.refresh()));
    byId("question").addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) byId("question-form").requestSubmit();
    });
    byId("stop").addEventListener("click", () => this.running?.abort());
    byId("compare").addEventListener("change", (event) => this.compare(event.target.checked));
    byId("notice-close").addEventListener("click", () => this.closeNotice());
    addEventListener("hashchange", () => this.route());
    this.route();
    this.readServer();
  }

  failed(failure) {
    alerts.show(failure instanceof Failure ? failure : new Failure(readable(failure)), () => this.access.open());
  }

  async readServer() {
    try {
      const server = await get("/page/api/info");
      alerts.clear();
      this.model = server.model;
      byId("server").textContent = [server.model, STATES[server.state] ?? server.state].filter(Boolean).join(" ");
      byId("notice-text").textContent = server.notice;
      byId("notice").hidden = !server.notice || sessionStorage.getItem(NOTICED) === server.notice;
      if (location.hash === "#usage") await this.usage.open();
    } catch (failure) {
      byId("server").textContent = failure.needsToken ? "needs a token" : "does not answer";
      this.failed(failure);
    }
  }

  closeNotice() {
    sessionStorage.setItem(NOTICED, byId("notice-text").textContent);
    byId("notice").hidden = true;
    byId("main").focus();
  }

  route() {
    const isUsage = location.hash === "#usage";
    byId("ask-view").hidden = isUsage;
    byId("usage-view").hidden = !isUsage;
    byId("to-ask").toggleAttribute("aria-current", !isUsage);
    byId("to-usage").toggleAttribute("aria-current", isUsage);
    for (const link of [byId("to-ask"), byId("to-usage")]) {
      if (link.hasAttribute("aria-current")) link.setAttribute("aria-current", "page");
    }
    if (isUsage) this.usage.open();
  }

  question() {
    return byId("question").value.trim();
  }

  // The grid comes from the size, the exact plans once the server holds the picture.
  async open(picture) {
    alerts.clear();
    this.picture = picture;
    byId("lead").className = "visually-hidden";
    byId("workspace").hidden = false;
    this.answers.forEach((answer) => answer.clear());
    const stored = picture.store();
    stored.catch(() => {}); // awaited below
    await Promise.all(this.views.map((view) => view.open(picture, () => this.question())));
    if (this.views[0].plan) painted(() => performance.measure("fovea:drop-to-grid", "fovea:drop"));
    await stored;
    if (this.picture === picture) await Promise.all(this.views.map((view) => view.refresh()));
  }

  async compare(on) {
    byId("workspace").dataset.mode = on ? "compare" : "single";
    if (!on) {
      this.views.splice(1).forEach((view) => view.root.remove());
      this.answers.splice(1).forEach((answer) => answer.root.remove());
      return;
    }
    const view = new View(NAMES[1], (failure) => this.failed(failure));
    const answer = new Answer(NAMES[1], (failure) => this.failed(failure));
    this.views.push(view);
    this.answers.push(answer);
    byId("views").append(view.root);
    byId("answers").append(answer.root);
    if (!this.picture) return;
    await view.open(this.picture, () => this.question());
    if (view.stops.length > 1) view.choose(0);
  }

  // Budgets are asked one after the other, so that their times can be compared.
  async ask(event) {
    event.preventDefault();
    if (this.running || !this.question()) return;
    alerts.clear();
    this.running = new AbortController();
    byId("ask").disabled = true;
    byId("stop").hidden = false;
    const { signal } = this.running;
    this.answers.forEach((answer) => answer.clear());
    for (const [at, answer] of [...this.answers.entries()]) {
      const { plan } = this.views[at];
      if (!plan || !(await answer.ask(this.model, this.question(), this.picture, plan, signal))) break;
    }
    this.running = null;
    byId("ask").disabled = false;
    byId("stop").hidden = true;
    this.views.forEach((view) => view.refresh()); // what the tower has ranked is known now
  }
}

// Runs after the next frame is on the screen.
function painted(then) {
  requestAnimationFrame(() => {
    const channel = new MessageChannel();
    channel.port1.onmessage = then;
    channel.port2.postMessage(null);
  });
}

function readable(error) {
  if (error?.name === "InvalidStateError") return "This file is no picture that the browser can show.";
  return `The page failed: ${error?.message ?? error}`;
}

new Page();
