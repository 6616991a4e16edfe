// A receipt as bars: tokens that were read and saved, and time by stage.

import { element } from "./dom.js";
import { bytes, count, money, ms, percent, size } from "./format.js";

const STAGES = [
  ["queue", "Queue", "c0"],
  ["encode", "Encode", "c1"],
  ["transfer", "Transfer", "c2"],
  ["prefill", "Prefill", "c3"],
  ["decode", "Decode", "c4"],
];
const SOURCES = {
  encoded: "encoded for this answer",
  rows: "from the encoder's store",
  prefix: "still in the KV cache",
  none: "no rows",
};

export function receiptOf(receipt, requestId) {
  return [tokens(receipt.totals), times(receipt.stages_ms), facts(receipt, requestId)];
}

// Parts are [label, value, style, text]. Their widths are their shares of the sum.
export function bar(parts, label) {
  const sum = parts.reduce((total, [, value]) => total + value, 0) || 1;
  const shown = parts.filter(([, value]) => value > 0);
  const strip = element("div", { class: "bar", role: "img", "aria-label": label });
  for (const [, value, style] of shown) {
    const piece = element("i", { class: style });
    piece.style.flex = `${value / sum} 0 0`;
    strip.append(piece);
  }
  const key = element(
    "ul",
    { class: "key" },
    ...shown.map(([name, , style, text]) =>
      element("li", {}, element("span", { class: `swatch ${style}` }), `${name} `, element("b", {}, text)),
    ),
  );
  return [strip, key];
}

function tokens(totals) {
  const saved = Math.max(0, totals.naive_visual_tokens - totals.visual_tokens);
  const parts = [
    ["Visual", totals.visual_tokens, "c1"],
    ["Text", totals.text_tokens, "c2"],
    ["Answer", totals.output_tokens, "c4"],
    ["Saved", saved, "saved"],
  ].map(([name, value, style]) => [name, value, style, count(value)]);
  const spent = totals.visual_tokens + totals.text_tokens + totals.output_tokens;
  const all = `${count(spent)} tokens, ${count(saved)} saved`;
  const cached = totals.cached_prompt_tokens;
  const note = cached ? `${count(cached)} of the prompt were in the KV cache.` : "";
  return element(
    "div",
    { class: "receipt-tokens" },
    element("h3", {}, "Tokens", element("b", {}, count(spent))),
    ...bar(parts, `Tokens: ${all}`),
    note ? element("p", { class: "muted small" }, note) : null,
  );
}

function times(stages) {
  const parts = STAGES.map(([field, name, style]) => [name, stages[field], style, ms(stages[field])]);
  const sum = parts.reduce((total, [, value]) => total + value, 0);
  const other = Math.max(0, stages.total - sum); // reading the request, planning, building the prompt
  parts.push(["Other", other, "rest", ms(other)]);
  const spoken = parts.map(([name, , , text]) => `${name} ${text}`).join(", ");
  const overlap = sum > stages.total * 1.02 ? " Stages overlap, so they add up to more." : "";
  return element(
    "div",
    { class: "receipt-stages" },
    element("h3", {}, "Time", element("b", {}, ms(stages.total))),
    ...bar(parts, `Time by stage: ${spoken}`),
    element("p", { class: "muted small" }, `First token after ${ms(stages.ttft)}.${overlap}`),
  );
}

function facts(receipt, requestId) {
  const rows = [];
  const image = receipt.images[0];
  if (receipt.price?.currency) {
    const { amount, naive_amount: naive, currency } = receipt.price;
    const saved = naive > amount ? `, ${percent(1 - amount / naive)} less than without planning and caching` : "";
    rows.push(["Price", `${money(amount, currency)}${saved}`]);
  }
  if (image) {
    rows.push(["Picture", `${size(image.planned)} px, ${count(image.tokens)} tokens`]);
    const where = image.encoder ? `, ${image.encoder}` : "";
    rows.push(["Rows", `${SOURCES[image.source] ?? image.source}${where}; ${bytes(image.wire_bytes)} moved`]);
  }
  if (receipt.tier?.path?.length) {
    const why = receipt.tier.reason ? `: ${receipt.tier.reason}` : "";
    rows.push(["Tier", receipt.tier.path.join(" → ") + why]);
  }
  if (receipt.degraded) rows.push(["Degraded", "The server was under load and lowered the detail."]);
  if (requestId) rows.push(["Request", element("span", { class: "mono" }, requestId)]);
  return element(
    "dl",
    { class: "pairs" },
    ...rows.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]),
  );
}
