// A plan in words: tokens, price, the smallest text, and each step that drops tokens.

import { element } from "./dom.js";
import { bounds, count, money, percent, plural } from "./format.js";

const STEP_NAMES = {
  resize: "Resize", flat: "Uniform patches", reduce: "Reduce", repeat: "Repeat", near: "Near repeat", text: "Text",
};
const STOP_NAMES = { low: "low", auto: "auto", default: "default", high: "high", full: "full size" };

export const isExact = (plan) => plan.tokens === plan.tokens_min;

export function stopName(plan) {
  return plan.names.map((name) => STOP_NAMES[name] ?? name).join(", ");
}

export function legibility(text) {
  if (!text) return { figure: "…", note: "measured once the picture is stored", bad: false };
  if (!text.px) return { figure: "none", note: "no text was measured", bad: false };
  const figure = `${text.px.toFixed(text.px < 10 ? 1 : 0)} px`;
  const least = `${text.readable_px} px`;
  const bad = text.px < text.readable_px - 0.05;
  return { figure, note: bad ? `below ${least}: hard to read` : `readable, ${least} or more`, bad };
}

export function spoken(plan) {
  const { figure, note } = legibility(plan.text);
  const name = stopName(plan);
  return `${name ? `${name}: ` : ""}${plural(plan.tokens, "token")}, smallest text ${figure}, ${note}`;
}

export function fillFigures(view, plan) {
  const [tokens, price, text] = ["tokens", "price", "text"].map((name) => view.querySelector(`dd.${name}`));
  const prompt = `${count(plan.prompt_tokens)} in the prompt`;
  tokens.replaceChildren(
    bounds(plan.tokens_min, plan.tokens),
    element("small", {}, plan.fits_context ? prompt : element("span", { class: "bad" }, "does not fit the context")),
  );
  price.replaceChildren(
    ...(plan.price
      ? [money(plan.price.most, plan.price.currency), element("small", {}, "at most, with the longest answer")]
      : ["–", element("small", {}, "the server has no tariff")]),
  );
  const { figure, note, bad } = legibility(plan.text);
  text.replaceChildren(figure, element("small", {}, bad ? element("span", { class: "bad" }, note) : note));
}

export function fillSteps(view, plan) {
  const steps = plan.steps.map((step) =>
    element(
      "li",
      {},
      element("span", { class: "name" }, STEP_NAMES[step.name] ?? step.name),
      element("span", { class: "muted" }, step.reason),
      element("span", { class: "count" }, `${count(step.before)} → ${count(step.after)}`),
    ),
  );
  if (!steps.length) {
    steps.push(element("li", {}, element("span", { class: "name" }, "Nothing"), "Every token of the picture is kept."));
  }
  view.querySelector(".steps").replaceChildren(...steps);
  view.querySelector(".known").textContent = knowledge(plan);
}

function knowledge(plan) {
  const gone = plan.cells - plan.tokens;
  if (!isExact(plan)) {
    return "Bounds: how many tokens stay depends on pixels, and is known once the vision tower has read them. Ask first.";
  }
  if (!gone) return "Exact: an answer costs these tokens.";
  if (!plan.kept.length) {
    return `Exact: ${count(plan.tokens)} of ${count(plan.cells)} tokens stay. Which ones is known after asking, because the vision tower ranks them.`;
  }
  return `Exact: ${count(plan.tokens)} of ${count(plan.cells)} tokens stay, ${percent(gone / plan.cells)} are dropped. These are hatched in the picture.`;
}
