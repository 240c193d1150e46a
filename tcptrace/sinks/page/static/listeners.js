// Each listener as a card: both queues over the last 15 minutes, drops by stage, accept().

import { count, duration, element, rate, say, shape } from "./dom.js";

const FEWEST = 60; // steps that a chart is wide: it begins with five minutes, and grows to fifteen
const TALL = 40;
const DROPS = 6;

export function makeListener() {
  const parts = {
    title: element("h3"),
    owner: element("p", { class: "dim" }),
    accept: makeChart("accept queue"),
    syn: makeChart("SYN queue"),
    facts: element("dl"),
  };
  const card = element("article", { class: "card" }, parts.title, parts.owner, parts.accept.node, parts.syn.node,
    parts.facts);
  card.parts = parts;
  return card;
}

export function updateListener(card, told) {
  const { title, owner, accept, syn, facts } = card.parts;
  const dropped = told.drops.reduce((sum, one) => sum + one.count, 0);
  card.classList.toggle("bad-edge", dropped > 0);
  say(title, told.title);
  const who = told.sockets > 1 ? `${told.sockets} sockets` : told.owner ?? "owner unknown";
  say(owner, [told.is_open ? who : `closed, was ${who}`, ...told.where].join(" · "));
  const series = told.series;
  updateChart(accept, told.accept_queue_len, told.accept_queue_limit, series?.accept_queue_peaks,
    series?.accept_queue_limits, series?.drops);
  updateChart(syn, told.syn_queue_len, told.syn_queue_limit, series?.syn_queue_peaks, series?.syn_queue_limits);
  const lines = told.drops.map((one) => [`${count(one.count)} ×`, one.words, "bad"]);
  if (told.drop_rate) lines.push(["drops now", `${rate(told.drop_rate)} a second`, "bad"]);
  lines.push(["accept()", `${rate(told.accept_rate)} a second`, ""]);
  if (told.accept_wait_p99_ns !== null) lines.push(["waits", `${duration(told.accept_wait_p99_ns)} (p99)`, ""]);
  const text = JSON.stringify(lines);
  if (facts.told === text) return;
  facts.told = text;
  facts.replaceChildren(...lines.flatMap(([name, value, colour]) => [
    element("dt", {}, name), element("dd", { class: colour }, value),
  ]));
}

function makeChart(name) {
  const bars = shape("g");
  const limit = shape("path", { class: "limit" });
  const picture = shape("svg", { class: "chart", role: "img",
    preserveAspectRatio: "none" }, bars, limit);
  const now = element("span");
  const peak = element("span", { class: "dim" });
  const label = element("div", { class: "label" }, now, peak);
  return { name, bars, limit, picture, now, peak, node: element("div", {}, label, picture) };
}

function updateChart(chart, length, limit, peaks, limits, drops = []) {
  say(chart.now, `${chart.name} ${count(length)} of ${count(limit)}`);
  const highest = peaks ? Math.max(0, ...peaks) : null;
  say(chart.peak, highest === null ? "too many busy listeners: no history" : `longest ${count(highest)}`);
  const told = `${chart.name}: ${length} now, limit ${limit}, longest in 15 minutes ${highest ?? "unknown"}`;
  chart.picture.setAttribute("aria-label", told);
  const drawn = JSON.stringify([peaks, limits, drops]);
  if (chart.drawn === drawn) return;
  chart.drawn = drawn;
  const width = Math.max(FEWEST, peaks?.length ?? 0);
  chart.picture.setAttribute("viewBox", `0 0 ${width} ${TALL + DROPS}`);
  chart.bars.replaceChildren(...(peaks ? drawBars(peaks, limits, drops, width) : []));
  chart.limit.setAttribute("d", peaks ? limitLine(peaks, limits, width) : "");
}

// The scale: a queue that is as long as its limit reaches the line; it is full one above it.
function scaleOf(peaks, limits) {
  return Math.max(1, ...peaks, ...limits) * 1.08;
}

function drawBars(peaks, limits, drops, width) {
  const most = scaleOf(peaks, limits);
  const begin = width - peaks.length;
  const bars = [];
  peaks.forEach((peak, place) => {
    const x = begin + place;
    if (peak) {
      const height = Math.max(1, (peak / most) * TALL);
      const kind = peak > limits[place] ? "over" : "bar";
      bars.push(shape("rect", { class: kind, x, y: TALL - height, width: 1, height }));
    }
    if (drops[place]) bars.push(shape("rect", { class: "drop", x, y: TALL + 2, width: 1, height: DROPS - 2 }));
  });
  return bars;
}

function limitLine(peaks, limits, width) {
  const most = scaleOf(peaks, limits);
  const begin = width - peaks.length;
  return limits.map((limit, place) => {
    if (limit === null) return "";
    const y = (TALL - (limit / most) * TALL).toFixed(1);
    const step = limits[place - 1] === undefined || limits[place - 1] === null ? "M" : "L";
    return `${step}${begin + place} ${y}L${begin + place + 1} ${y}`;
  }).join("");
}
