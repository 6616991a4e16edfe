// Stacked bars by hour, as SVG with a title for each bar.

import { compact, count } from "./format.js";

const SPACE = "http://www.w3.org/2000/svg";
const WIDTH = 960;
const HEIGHT = 200;
const FOOT = 22;
const HEAD = 18;

function shape(tag, attributes, text) {
  const made = document.createElementNS(SPACE, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

// `columns` are [{label, title, parts: [[style, value]]}], oldest first.
export function stackedBars(columns, label) {
  const svg = shape("svg", { class: "chart", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label, preserveAspectRatio: "none" });
  const most = Math.max(1, ...columns.map((column) => sum(column)));
  const step = WIDTH / Math.max(1, columns.length);
  const high = HEIGHT - FOOT - HEAD;
  svg.append(shape("line", { class: "rule", x1: 0, x2: WIDTH, y1: HEIGHT - FOOT, y2: HEIGHT - FOOT }));
  for (const [at, column] of columns.entries()) {
    const group = shape("g", {});
    group.append(shape("title", {}, column.title));
    let y = HEIGHT - FOOT;
    for (const [style, value] of column.parts.filter(([, each]) => each > 0)) {
      const tall = Math.max(1, (value / most) * high);
      y -= tall;
      group.append(shape("rect", { class: style, x: at * step + 1, y, width: Math.max(1, step - 2), height: tall }));
    }
    svg.append(group);
  }
  return { svg, most: `${compact(most)} tokens in the busiest hour` };
}

const sum = (column) => column.parts.reduce((total, [, value]) => total + value, 0);

export const spoken = (columns) =>
  `Tokens by hour: ${count(columns.reduce((total, column) => total + sum(column), 0))} in ${columns.length} hours`;
