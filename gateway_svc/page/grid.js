// The token grid over a picture. Columns, rows and kept cells are the server's; nothing is computed here.

const DENSE = 3000; // cells from which lines are drawn thinner

export function drawGrid(canvas, plan, shown) {
  const { clientWidth: width, clientHeight: height } = canvas;
  const scale = window.devicePixelRatio || 1;
  canvas.width = Math.max(1, Math.round(width * scale));
  canvas.height = Math.max(1, Math.round(height * scale));
  const context = canvas.getContext("2d");
  const cell = [canvas.width / plan.columns, canvas.height / plan.rows];
  const dropped = droppedCells(plan);
  fillDropped(context, plan, cell, dropped, scale);
  if (shown) drawLines(context, plan, cell, scale);
  canvas.dataset.columns = plan.columns;
  canvas.dataset.rows = plan.rows;
  canvas.dataset.painted = plan.columns * plan.rows - dropped.length;
}

// Without kept indices every cell is kept, or which are dropped is not known yet.
export function droppedCells(plan) {
  if (!plan.kept.length) return [];
  const kept = new Set(plan.kept);
  return Array.from({ length: plan.columns * plan.rows }, (_, cell) => cell).filter((cell) => !kept.has(cell));
}

function fillDropped(context, plan, [wide, high], dropped, scale) {
  if (!dropped.length) return;
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const path = new Path2D();
  for (const cell of dropped) {
    path.rect((cell % plan.columns) * wide, Math.floor(cell / plan.columns) * high, wide, high);
  }
  context.fillStyle = dark ? "rgb(19 22 21 / .8)" : "rgb(240 242 241 / .86)";
  context.fill(path);
  context.save();
  context.clip(path);
  context.strokeStyle = dark ? "rgb(200 210 206 / .34)" : "rgb(60 70 67 / .34)";
  context.lineWidth = scale;
  context.beginPath();
  const { width, height } = context.canvas;
  for (let at = -height; at < width; at += 6 * scale) {
    context.moveTo(at, height);
    context.lineTo(at + height, 0);
  }
  context.stroke();
  context.restore();
}

// A light and a dark line side by side stay visible on any picture.
function drawLines(context, plan, [wide, high], scale) {
  const thin = plan.columns * plan.rows > DENSE;
  const { width, height } = context.canvas;
  for (const [colour, offset] of [["rgb(0 0 0 / .38)", 0], ["rgb(255 255 255 / .55)", scale]]) {
    if (thin && offset) continue;
    context.beginPath();
    for (let column = 1; column < plan.columns; column += 1) {
      const x = Math.round(column * wide) + 0.5 + offset;
      context.moveTo(x, 0);
      context.lineTo(x, height);
    }
    for (let row = 1; row < plan.rows; row += 1) {
      const y = Math.round(row * high) + 0.5 + offset;
      context.moveTo(0, y);
      context.lineTo(width, y);
    }
    context.strokeStyle = colour;
    context.lineWidth = thin ? 0.5 * scale : scale;
    context.stroke();
  }
}
