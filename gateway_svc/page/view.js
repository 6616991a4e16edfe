// A budget as a person sets it: the picture with its grid, the slider, and what the plan does.

import { post } from "./api.js";
import { fromTemplate } from "./dom.js";
import { size } from "./format.js";
import { drawGrid } from "./grid.js";
import { fillFigures, fillSteps, spoken, stopName } from "./plan.js";

let made = 0;

export class View {
  constructor(name, failed) {
    this.root = fromTemplate("view-template");
    this.root.setAttribute("aria-label", `Budget ${name}`);
    this.name = name;
    this.failed = failed;
    this.picture = null;
    this.stops = [];
    this.chosen = null; // the name or size of a stop that the reader chose
    this.asked = 0;
    this.find(".view-name").textContent = `Budget ${name}`;
    this.slider = this.find(".detail");
    this.slider.id = `detail-${(made += 1)}`;
    this.find(".dial-label").htmlFor = this.slider.id;
    this.slider.addEventListener("input", () => this.choose(Number(this.slider.value)));
    this.find(".show-grid").addEventListener("change", () => this.drawGrid());
    for (const option of this.root.querySelectorAll(".flat, .reduction")) {
      option.addEventListener("change", () => this.refresh());
    }
    new ResizeObserver(() => this.plan && this.drawGrid()).observe(this.find(".grid"));
  }

  find(selector) {
    return this.root.querySelector(selector);
  }

  get plan() {
    return this.stops[Number(this.slider.value)] ?? null;
  }

  get dropping() {
    return { flat: this.find(".flat").checked, reduction: this.find(".reduction").value || null };
  }

  // The first plan needs the size alone, so it is on the screen while the file is still on its way.
  async open(picture, question) {
    this.picture = picture;
    this.question = question;
    this.chosen = null;
    this.stops = [];
    if (picture.facts) await this.refresh();
    else await this.ask({ size: await picture.decode(), ladder: false });
  }

  // Every stop of the slider, once the server holds the picture.
  async refresh() {
    if (this.picture?.facts) await this.ask({ digest: this.picture.facts.digest, ladder: true });
  }

  async ask(source) {
    const turn = (this.asked += 1);
    this.root.dataset.state = "asking";
    try {
      const told = await post("/page/api/plans", { ...source, ...this.dropping, question: this.question() });
      if (turn !== this.asked) return;
      this.take(told.stops);
      this.root.dataset.state = source.digest ? "stored" : "sized";
    } catch (failure) {
      this.root.dataset.state = "failed";
      this.failed(failure);
    }
  }

  take(stops) {
    this.stops = stops;
    this.slider.max = stops.length - 1;
    this.slider.disabled = stops.length < 2;
    this.slider.value = this.position(stops);
    this.find(".ends").hidden = stops.length < 2;
    this.show();
  }

  // Where the reader was: the same size, or else the server's default.
  position(stops) {
    const same = stops.findIndex((stop) => this.chosen && String(stop.planned) === this.chosen);
    return same >= 0 ? same : Math.max(0, stops.findIndex((stop) => stop.names.includes("default")));
  }

  choose(at) {
    this.slider.value = at;
    this.chosen = String(this.stops[at].planned);
    this.show();
  }

  show() {
    const { plan } = this;
    const [width, height] = plan.original;
    const frame = this.find(".frame");
    frame.style.aspectRatio = `${width} / ${height}`;
    frame.style.maxWidth = `calc(var(--tallest) * ${width / height})`;
    const picture = this.find(".picture");
    this.picture.draw(picture, plan.planned);
    picture.setAttribute("aria-label", `${this.picture.name} at ${size(plan.planned)} pixels. ${spoken(plan)}.`);
    this.find(".sizes").textContent =
      `${size(plan.original)} px seen as ${size(plan.planned)}: ${plan.columns} × ${plan.rows} cells`;
    this.slider.setAttribute("aria-valuetext", spoken(plan));
    this.find(".stop-name").textContent = stopName(plan);
    fillFigures(this.root, plan);
    fillSteps(this.root, plan);
    this.drawGrid();
  }

  drawGrid() {
    drawGrid(this.find(".grid"), this.plan, this.find(".show-grid").checked);
  }
}
