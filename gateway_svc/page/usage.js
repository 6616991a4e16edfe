// The usage view: what the ledger shows of the caller's tenant, or of all tenants to an operator.

import { get } from "./api.js";
import { spoken, stackedBars } from "./chart.js";
import { byId, element } from "./dom.js";
import { compact, count, money, ms, percent } from "./format.js";

const HOUR_S = 3600;
const STYLES = ["f1", "f2", "f3", "f4", "f0"];
const SWATCHES = ["c1", "c2", "c3", "c4", "c0"];
const ANOMALIES = {
  cost: (a) => `Pictures of kind ${a.image_kind.toLowerCase() || "unknown"} cost ${count(a.value)} visual tokens; usual are ${count(a.usual)}.`,
  new_images: (a) => `Many more pictures are new; usual are ${percent(a.usual)}.`,
  misses: (a) => `The rows of many more pictures are computed anew; usual are ${percent(a.usual)}.`,
  length: (a) => `Many more answers reach the longest length; usual are ${percent(a.usual)}.`,
  silent_errors: (a) => `Tier ${a.tier} is contradicted in ${percent(a.value)} of its answers; expected are ${percent(a.usual)}.`,
};

export class Usage {
  constructor(failed) {
    this.failed = failed;
    this.hours = byId("usage-hours");
    this.hours.addEventListener("change", () => this.open());
  }

  async open() {
    const place = byId("usage");
    place.setAttribute("aria-busy", "true");
    try {
      const told = await get(`/page/api/usage?hours=${this.hours.value}`);
      place.replaceChildren(...blocks(told));
    } catch (failure) {
      place.replaceChildren();
      this.failed(failure);
    } finally {
      place.removeAttribute("aria-busy");
    }
  }
}

function blocks(told) {
  if (!told.tenants.length) {
    return [element("p", { class: "muted" }, "No requests in this period. Ask something, then look here again.")];
  }
  return [cards(told), hours(told), tenants(told.tenants), anomalies(told.anomalies), latest(told.latest)];
}

const total = (sums, field) => sums.reduce((all, each) => all + each[field], 0);
const tenantName = (name) => name || "no tenant";

function cards(told) {
  const sums = told.tenants;
  const [visual, naive] = [total(sums, "visual_tokens"), total(sums, "naive_visual_tokens")];
  const prompt = visual + total(sums, "text_tokens");
  const rows = told.rows;
  const images = rows.encoded + rows.rows + rows.prefix;
  const { ttft, total: whole, n } = told.latency_ms;
  const list = [
    ["Requests", count(total(sums, "requests")), `${count(total(sums, "ok") + total(sums, "length"))} answered`],
    ["Visual tokens", compact(visual), naive > visual ? `${percent(1 - visual / naive)} fewer than without planning` : "nothing was saved"],
    ["Row hits", images ? percent(1 - rows.encoded / images) : "–", images ? `of the latest ${count(images)} pictures` : "no pictures"],
    ["Prefix hits", prompt ? percent(total(sums, "cached_prompt_tokens") / prompt) : "–", "of prompt tokens were in the KV cache"],
    ["First token", ttft ? ms(ttft.p50) : "–", ttft ? `95% within ${ms(ttft.p95)}` : "no answers"],
    ["Whole answer", whole ? ms(whole.p50) : "–", whole ? `95% within ${ms(whole.p95)}, ${count(n)} answers` : "no answers"],
  ];
  const priced = sums.find((each) => each.currency);
  if (priced) {
    const same = sums.filter((each) => each.currency === priced.currency);
    const naiveAmount = total(same, "naive_amount");
    list.push(["Price", money(total(same, "amount"), priced.currency), `${money(naiveAmount, priced.currency)} without planning and caching`]);
  }
  return element(
    "dl",
    { class: "cards" },
    ...list.map(([name, figure, note]) =>
      element("div", {}, element("dt", {}, name), element("dd", {}, figure, element("small", {}, note))),
    ),
  );
}

function hours(told) {
  const names = Object.keys(told.hours);
  const sums = new Map(names.map((name) => [name, byHour(told.hours[name])]));
  const columns = [];
  for (let at = Math.floor(told.start / HOUR_S) * HOUR_S; at <= told.end; at += HOUR_S) {
    const key = `${new Date(at * 1000).toISOString().slice(0, 13)}:00Z`;
    const parts = names.map((name, index) => [STYLES[Math.min(index, 4)], sums.get(name).get(key) ?? 0]);
    const title = `${when(at)}: ${names.map((name, index) => `${tenantName(name)} ${count(parts[index][1])}`).join(", ")}`;
    columns.push({ title, parts });
  }
  const { svg, most } = stackedBars(columns, spoken(columns));
  const key = element(
    "ul",
    { class: "key" },
    ...names.map((name, at) => element("li", {}, element("span", { class: `swatch ${SWATCHES[Math.min(at, 4)]}` }), tenantName(name))),
  );
  const span = element("div", { class: "row spread muted small" }, element("span", {}, when(told.start)), element("span", {}, "now"));
  return element("section", { class: "block" }, element("h2", {}, "Tokens by hour and tenant"),
    element("div", { class: "row spread" }, key, element("span", { class: "muted small" }, most)), svg, span);
}

function byHour(sums) {
  const result = new Map();
  for (const each of sums) {
    const tokens = each.visual_tokens + each.text_tokens + each.output_tokens;
    result.set(each.key, (result.get(each.key) ?? 0) + tokens);
  }
  return result;
}

function when(seconds) {
  return new Date(seconds * 1000).toLocaleString("en", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
}

function table(title, heads, rows) {
  return element("section", { class: "block" }, element("h2", {}, title),
    element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": title },
      element("table", {},
        element("thead", {}, element("tr", {}, ...heads.map((head) => element("th", { scope: "col" }, head)))),
        element("tbody", {}, ...rows.map((row) => element("tr", {}, ...row.map((cell) => element("td", {}, cell)))))),
    ));
}

// A tenant's requests without a price, such as refused ones, are sums of their own.
function merged(sums) {
  const byName = new Map();
  for (const each of sums) {
    const held = byName.get(each.key) ?? { key: each.key };
    for (const [field, value] of Object.entries(each)) {
      if (typeof value === "number" && !field.endsWith("amount")) held[field] = (held[field] ?? 0) + value;
    }
    held.prices = [...(held.prices ?? []), ...(each.currency ? [money(each.amount, each.currency)] : [])];
    byName.set(each.key, held);
  }
  return [...byName.values()];
}

function tenants(sums) {
  const heads = ["Tenant", "Requests", "Refused", "Failed", "Visual", "Saved", "Text", "Answers", "Encoded", "Price"];
  return table("Tenants", heads, merged(sums).map((each) => [
    tenantName(each.key), count(each.requests), count(each.refused), count(each.failed + each.deadline),
    count(each.visual_tokens), count(Math.max(0, each.naive_visual_tokens - each.visual_tokens)), count(each.text_tokens),
    count(each.output_tokens), count(each.encodes), each.prices.join(" + ") || "–",
  ]));
}

function anomalies(found) {
  const list = found.map((each) => element("li", {},
    element("strong", {}, tenantName(each.tenant)), ` ${(ANOMALIES[each.kind] ?? (() => "Something has changed."))(each)} `,
    element("span", { class: "muted small" }, `${when(each.time)} · request ${each.request_id}`)));
  return element("section", { class: "block" }, element("h2", {}, "Anomalies"),
    list.length ? element("ul", { class: "anomalies" }, ...list) : element("p", { class: "muted" }, "None found."));
}

function latest(lines) {
  const heads = ["Began", "Tenant", "Outcome", "Visual", "Text", "Answer", "First token", "Total"];
  return table("Latest requests", heads, lines.map((each) => [
    when(each.started), tenantName(each.tenant), each.reason ? `${each.outcome}: ${each.reason}` : each.outcome,
    count(each.visual_tokens), count(each.text_tokens), count(each.output_tokens),
    each.ttft_ms ? ms(each.ttft_ms) : "–", each.total_ms ? ms(each.total_ms) : "–",
  ]));
}
