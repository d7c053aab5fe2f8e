// Zooms the plots of a report. The page shows the whole video without this script, too.
"use strict";
const WIDTH = 2000, HEIGHT = 200; // units of a drawing
const data = JSON.parse(document.getElementById("data").textContent);
const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
const edges = new Float64Array(bytes(data.edges).buffer); // begin of each bin, and the end of the last
const START = edges[0], END = edges[edges.length - 1];
const LEAST = Math.max(4 * (END - START) / (edges.length - 1), 1e-6); // shortest time shown
let from = START, to = END;

// Numbers of the faces: for each column mean, smallest and largest value of each bin, NaN where nothing is known.
const faces = new Map(data.faces.map((face) => {
  const series = {};
  for (const [name, [low, high, ...rows]] of Object.entries(face.series)) {
    const [mean, least, most] = rows.map((row) => Float64Array.from(new Uint16Array(bytes(row).buffer),
      (step) => step === 65535 ? NaN : low + (high - low) * step / 65534));
    series[name] = { mean, least: least ?? mean, most: most ?? mean };
  }
  return [face.id, { first: face.first, series }];
}));

const plots = [...document.querySelectorAll(".plot")].map((figure) => {
  const face = faces.get(Number(figure.closest(".face").dataset.face));
  const svg = figure.querySelector("svg");
  return {
    figure, face, svg,
    low: Number(figure.dataset.low), high: Number(figure.dataset.high),
    lines: [...svg.querySelectorAll(".line")].map((line) => ({
      column: line.dataset.column, line, area: line.previousElementSibling,
      tone: line.classList[1],
      label: figure.querySelector(`.labels [data-column="${line.dataset.column}"]`),
    })),
    doubt: svg.querySelector(".doubt"), marks: svg.querySelector(".marks"), cursor: svg.querySelector(".cursor"),
    output: figure.querySelector("output"),
  };
});

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const across = (time) => WIDTH * (time - from) / (to - from);

function binAt(time) { // the last bin that begins at or before a time
  let low = 0, high = edges.length - 2;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (edges[middle] <= time) low = middle; else high = middle - 1;
  }
  return low;
}

function paths(plot, column, pixels) { // the line of the mean, and the area between smallest and largest value
  const { first, series } = plot.face, { mean, least, most } = series[column];
  const y = (value) => (HEIGHT * (1 - (clamp(value, plot.low, plot.high) - plot.low) / (plot.high - plot.low))).toFixed(0);
  const begin = clamp(binAt(from) - 1, first, first + mean.length), end = clamp(binAt(to) + 2, first, first + mean.length);
  let line = "", area = "", upper = [], lower = [], wide = false, last = -2, cell = null;
  const close = () => {
    if (wide) area += `M${upper.join("L")}L${lower.reverse().join("L")}Z`;
    if (upper.length === 1) line += "h1";
    upper = []; lower = []; wide = false;
  };
  const put = () => {
    if (!cell) return;
    const x = (cell.x / cell.count).toFixed(1), top = y(cell.most), bottom = y(cell.least);
    line += `${upper.length ? "L" : "M"}${x} ${y(cell.sum / cell.count)}`;
    upper.push(`${x} ${top}`); lower.push(`${x} ${bottom}`);
    wide ||= bottom - top > 2;
    cell = null;
  };
  for (let bin = begin; bin < end; bin++) {
    const i = bin - first;
    if (Number.isNaN(mean[i])) continue;
    const x = across((edges[bin] + edges[bin + 1]) / 2), place = Math.floor(x * pixels / WIDTH);
    const broken = bin - last > 1;
    if (!cell || cell.place !== place || broken) {
      put();
      if (broken) close();
      cell = { place, x: 0, sum: 0, count: 0, least: Infinity, most: -Infinity };
    }
    cell.x += x; cell.sum += mean[i]; cell.count++;
    cell.least = Math.min(cell.least, least[i]); cell.most = Math.max(cell.most, most[i]);
    last = bin;
  }
  put(); close();
  return [line, area];
}

function runs(face, column, top, height) { // where a column is above 0
  const values = face.series[column];
  if (!values) return "";
  const begin = clamp(binAt(from), face.first, face.first + values.most.length);
  const end = clamp(binAt(to) + 1, face.first, face.first + values.most.length);
  let path = "", start = null;
  for (let bin = begin; bin <= end; bin++) {
    const on = bin < end && values.most[bin - face.first] > 0;
    if (on && start === null) start = bin;
    if (!on && start !== null) {
      const x = across(edges[start]), width = Math.max(across(edges[bin]) - x, 3);
      path += `M${x.toFixed(1)} ${top}h${width.toFixed(1)}v${height}h${(-width).toFixed(1)}z`;
      start = null;
    }
  }
  return path;
}

function placeLabels(plot) { // beside the last value shown, none over another
  const shown = plot.lines.filter((each) => each.label).map((each) => {
    const { first, series } = plot.face, mean = series[each.column].mean;
    let bin = Math.min(binAt(to - 1e-9), first + mean.length - 1);
    while (bin >= first && Number.isNaN(mean[bin - first])) bin--;
    const value = bin >= first ? clamp(mean[bin - first], plot.low, plot.high) : (plot.low + plot.high) / 2;
    return { label: each.label, top: 100 * (1 - (value - plot.low) / (plot.high - plot.low)) };
  }).sort((one, other) => one.top - other.top);
  for (let i = 1; i < shown.length; i++) shown[i].top = Math.max(shown[i].top, shown[i - 1].top + 24);
  let limit = 96;
  for (const each of shown.slice().reverse()) { each.top = Math.min(each.top, limit); limit = each.top - 24; }
  for (const each of shown) each.label.style.top = `${each.top.toFixed(1)}%`;
}

function clock(seconds, digits) {
  if (!data.timed) return seconds.toFixed(0);
  const ticks = Math.round(Math.abs(seconds) * 10 ** digits), whole = Math.floor(ticks / 10 ** digits);
  const two = (number) => String(number).padStart(2, "0");
  const fraction = digits ? `.${String(ticks % 10 ** digits).padStart(digits, "0")}` : "";
  const minutes = Math.floor(whole / 60), rest = `${two(whole % 60)}${fraction}`, sign = seconds < 0 ? "−" : "";
  return minutes < 60 ? `${sign}${minutes}:${rest}` : `${sign}${Math.floor(minutes / 60)}:${two(minutes % 60)}:${rest}`;
}

const STEPS = [.01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 36000];
function drawAxes() {
  for (const axis of document.querySelectorAll(".times")) {
    const most = Math.max(Math.floor((axis.clientWidth || 700) / 90), 2), length = to - from;
    const step = STEPS.find((each) => each >= length / most && (data.timed || each >= 1)) ?? 10 ** Math.ceil(Math.log10(length / most));
    const digits = step >= 1 ? 0 : step >= .1 ? 1 : 2;
    axis.replaceChildren();
    for (let i = Math.ceil(from / step - 1e-9); i * step <= to + 1e-9; i++) {
      const tick = document.createElement("span");
      tick.textContent = clock(i * step, digits);
      tick.style.left = `${100 * (i * step - from) / length}%`;
      axis.append(tick);
    }
  }
}

const overview = document.getElementById("overview");
const frame = overview?.querySelector(".window"), track = overview?.querySelector(".lane svg");
function drawWindow() {
  if (!frame || !track) return;
  frame.hidden = from <= START && to >= END;
  const box = track.getBoundingClientRect(), outer = overview.getBoundingClientRect(), scale = box.width / (END - START);
  frame.style.left = `${box.left - outer.left + (from - START) * scale}px`;
  frame.style.width = `${Math.max((to - from) * scale, 2)}px`;
}

let waiting = false;
function redraw() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    for (const plot of plots) {
      const pixels = plot.svg.clientWidth;
      if (!pixels) continue; // folded
      for (const { column, line, area } of plot.lines) {
        if (!plot.face.series[column]) continue;
        const [mean, range] = paths(plot, column, pixels);
        line.setAttribute("d", mean); area.setAttribute("d", range);
      }
      plot.doubt.setAttribute("d", runs(plot.face, "doubt", 0, HEIGHT));
      plot.marks?.setAttribute("d", runs(plot.face, "blink", HEIGHT - 14, 14));
      placeLabels(plot);
    }
    drawAxes(); drawWindow(); showCursor(null);
    const digits = to - from < 20 ? 2 : 1;
    document.getElementById("range").textContent = `${data.timed ? "" : "frames "}${clock(from, digits)} to ${clock(to, digits)}`;
  });
}

function show(start, end) {
  const length = clamp(end - start, LEAST, END - START);
  const middle = clamp((start + end) / 2, START + length / 2, END - length / 2);
  from = middle - length / 2; to = middle + length / 2;
  redraw();
}
const zoom = (factor, at = (from + to) / 2) => show(at - (at - from) * factor, at + (to - at) * factor);
const pan = (share) => show(from + share * (to - from), to + share * (to - from));
const actions = {
  in: () => zoom(.5), out: () => zoom(2), left: () => pan(-.25), right: () => pan(.25), all: () => show(START, END),
};

// The read-out of one time in all plots

function showCursor(time) {
  const bin = time === null ? -1 : binAt(time);
  for (const plot of plots) {
    plot.cursor.setAttribute("d", time === null ? "" : `M${across(time).toFixed(1)} 0V${HEIGHT}`);
    plot.output.replaceChildren();
    if (time === null) continue;
    const digits = plot.high - plot.low > 20 ? 0 : 2;
    for (const { column, tone, label } of plot.lines) {
      const value = plot.face.series[column]?.mean[bin - plot.face.first];
      const text = document.createElement("span");
      text.className = tone;
      const known = value !== undefined && !Number.isNaN(value);
      text.textContent = `${label ? `${label.textContent} ` : ""}${known ? value.toFixed(digits).replace("-", "−") : "–"}`;
      plot.output.append(text);
    }
    const at = document.createElement("span");
    at.textContent = clock(time, 2);
    plot.output.prepend(at);
  }
}

// Pointer: hover reads out, dragging chooses a time, a double click shows all

const timeAt = (svg, event) => {
  const box = svg.getBoundingClientRect();
  return from + (to - from) * clamp((event.clientX - box.left) / box.width, 0, 1);
};
for (const { svg } of plots) {
  let start = null, selection = null;
  svg.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    start = timeAt(svg, event);
    svg.setPointerCapture(event.pointerId);
  });
  svg.addEventListener("pointermove", (event) => {
    const time = timeAt(svg, event);
    showCursor(time);
    if (start === null) return;
    selection ??= svg.appendChild(document.createElementNS("http://www.w3.org/2000/svg", "path"));
    selection.setAttribute("class", "selection");
    selection.setAttribute("d", `M${across(start)} 0H${across(time)}V${HEIGHT}H${across(start)}Z`);
  });
  const end = (event) => {
    if (start === null) return;
    const time = timeAt(svg, event), box = svg.getBoundingClientRect();
    const far = Math.abs(time - start) / (to - from) * box.width > 5;
    const [one, other] = [Math.min(start, time), Math.max(start, time)];
    selection?.remove();
    start = selection = null;
    if (far && event.type === "pointerup") show(one, other);
  };
  svg.addEventListener("pointerup", end);
  svg.addEventListener("pointercancel", end);
  svg.addEventListener("pointerleave", () => { if (start === null) showCursor(null); });
  svg.addEventListener("dblclick", actions.all);
  svg.addEventListener("wheel", (event) => {
    const sideways = Math.abs(event.deltaX) > Math.abs(event.deltaY);
    if (!event.ctrlKey && !event.metaKey && !sideways) return; // scrolls the page
    event.preventDefault();
    if (sideways) pan(clamp(event.deltaX / svg.clientWidth, -.5, .5)); else zoom(1.2 ** Math.sign(event.deltaY), timeAt(svg, event));
  }, { passive: false });
}

// Buttons and keys

for (const button of document.querySelectorAll("#bar button")) button.onclick = actions[button.dataset.do];
for (const button of document.querySelectorAll(".show")) {
  button.onclick = () => {
    const [start, end] = [Number(button.dataset.from), Number(button.dataset.to)];
    const margin = Math.max(end - start, data.timed ? 2 : 50);
    show(start - margin, end + margin);
    const face = document.getElementById(`face-${button.dataset.face}`);
    if (face) face.open = true;
    (face ?? document.getElementById("plots")).scrollIntoView({ behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
  };
}
const KEYS = { "+": "in", "=": "in", "-": "out", "−": "out", ArrowLeft: "left", ArrowRight: "right", 0: "all" };
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest(".scroll, input")) return;
  if (Object.hasOwn(KEYS, event.key)) { event.preventDefault(); actions[KEYS[event.key]](); }
});
for (const face of document.querySelectorAll("details")) face.addEventListener("toggle", redraw);
for (const link of document.querySelectorAll('.lane a')) {
  link.addEventListener("click", () => { document.querySelector(link.getAttribute("href")).open = true; });
}
addEventListener("resize", redraw);
addEventListener("beforeprint", () => { for (const face of document.querySelectorAll(".face")) face.open = true; });
document.getElementById("bar").hidden = false;
redraw();
