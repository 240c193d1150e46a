// TCP's states as Linux runs them, with how many sockets are in each, and how many go from one to another.
// Which transitions there are is told by the server, which has them from the tables that lives are judged by;
// only where a state stands is decided here.

import { count, rate, say, shape } from "./dom.js";

const WIDTH = 108;
const HEIGHT = 44;
const PLACES = {
  LISTEN: [62, 110], SYN_SENT: [298, 110],
  NEW_SYN_RECV: [62, 200], SYN_RECV: [180, 280],
  ESTABLISHED: [180, 370],
  FIN_WAIT1: [62, 460], CLOSE_WAIT: [298, 460],
  FIN_WAIT2: [62, 550], CLOSING: [180, 550], LAST_ACK: [298, 550],
  TIME_WAIT: [62, 640],
};
// CLOSE is where sockets begin and where they end.
const BEGIN = [180, 30];
const END = [180, 720];
const SMALL = 26;
// Transitions that would lead through another state's box go round it, by these points.
const DETOURS = {
  "LISTEN SYN_RECV": [[142, 185]],
  "FIN_WAIT1 TIME_WAIT": [[121, 505], [121, 600]],
  "SYN_RECV FIN_WAIT1": [[75, 370]],
  "SYN_RECV CLOSE_WAIT": [[285, 370]],
  "SYN_SENT ESTABLISHED": [[298, 330]],
};
// These end in CLOSE as they should; all others that do are short cuts.
const IN_ORDER = new Set(["TIME_WAIT", "LAST_ACK"]);

let boxes = null;
let edges = null;

export function drawDiagram(parent, sockets, transitions) {
  if (boxes === null) parent.append(build(transitions));
  const exits = {};
  for (const { from, to, rate: often } of transitions) {
    const edge = edges.get(`${from} ${to}`);
    if (edge === undefined) {
      if (often) exits[from] = often;
      continue;
    }
    const busy = often > 0 ? "busy" : "";
    edge.line.setAttribute("class", `edge ${busy}`);
    edge.line.setAttribute("stroke-width", often ? Math.min(5, 1.5 + Math.log10(1 + often)) : 1);
    edge.tip.setAttribute("class", `tip ${busy}`);
    say(edge.rate, often ? `${rate(often)}/s` : "");
  }
  const told = [];
  for (const [state, box] of boxes) {
    const number = sockets[state] ?? 0;
    say(box.count, count(number));
    say(box.exit, exits[state] ? `✕ ${rate(exits[state])}/s` : "");
    box.frame.setAttribute("class", number ? "box busy" : "box");
    if (number) told.push(`${state} ${number}`);
  }
  parent.firstElementChild.setAttribute("aria-label", `Sockets by state: ${told.join(", ") || "none"}`);
}

function build(transitions) {
  boxes = new Map();
  edges = new Map();
  const picture = shape("svg", { viewBox: "0 0 360 745", role: "img" });
  const frames = shape("g");
  for (const { from, to } of transitions) {
    const line = route(from, to);
    if (line !== null) picture.append(drawEdge(`${from} ${to}`, line));
  }
  for (const [state, [x, y]] of Object.entries(PLACES)) frames.append(drawBox(state, x, y));
  for (const [x, y] of [BEGIN, END]) frames.append(drawClosed(x, y));
  const rates = shape("g");
  for (const { rate: text } of edges.values()) rates.append(text);
  picture.append(frames, rates);
  return picture;
}

function route(from, to) {
  if (to === "CLOSE") {
    if (!IN_ORDER.has(from)) return null;
    return [side(PLACES[from], END, HEIGHT), side(END, PLACES[from], SMALL)];
  }
  if (from === "CLOSE") return [side(BEGIN, PLACES[to], SMALL), side(PLACES[to], BEGIN, HEIGHT)];
  const detour = DETOURS[`${from} ${to}`] ?? [];
  const first = detour[0] ?? PLACES[to];
  const last = detour.at(-1) ?? PLACES[from];
  return [side(PLACES[from], first, HEIGHT), ...detour, side(PLACES[to], last, HEIGHT)];
}

// Where a line from a box's middle to a point leaves the box.
function side([x, y], [towardsX, towardsY], height) {
  const dx = towardsX - x;
  const dy = towardsY - y;
  const share = Math.min(WIDTH / 2 / Math.abs(dx || 1e-9), height / 2 / Math.abs(dy || 1e-9));
  return [x + dx * share, y + dy * share];
}

function drawEdge(key, points) {
  const [x, y] = points.at(-1);
  const [beforeX, beforeY] = points.at(-2);
  const length = Math.hypot(x - beforeX, y - beforeY) || 1;
  const [ux, uy] = [(x - beforeX) / length, (y - beforeY) / length];
  const tip = shape("path", {
    class: "tip",
    d: `M${x} ${y}L${x - 7 * ux - 4 * uy} ${y - 7 * uy + 4 * ux}L${x - 7 * ux + 4 * uy} ${y - 7 * uy - 4 * ux}z`,
  });
  const line = shape("polyline", { class: "edge", points: points.map((point) => point.join()).join(" ") });
  const middle = Math.floor((points.length - 1) / 2);
  const [[aX, aY], [bX, bY]] = [points[middle], points[middle + 1]];
  const text = shape("text", { class: "rate", x: (aX + bX) / 2, y: (aY + bY) / 2 + 4, "text-anchor": "middle" });
  edges.set(key, { line, tip, rate: text });
  return shape("g", {}, line, tip);
}

function drawBox(state, x, y) {
  const [left, top] = [x - WIDTH / 2, y - HEIGHT / 2];
  const frame = shape("rect", { class: "box", x: left, y: top, width: WIDTH, height: HEIGHT, rx: 5 });
  const number = shape("text", { class: "count", x: left + 8, y: top + 36 });
  const exit = shape("text", { class: "exit", x: left + WIDTH - 6, y: top + 36, "text-anchor": "end" });
  boxes.set(state, { frame, count: number, exit });
  return shape("g", {}, frame, shape("text", { class: "name", x: left + 8, y: top + 15 }, state), number, exit);
}

function drawClosed(x, y) {
  const frame = { class: "box", x: x - WIDTH / 2, y: y - SMALL / 2, width: WIDTH, height: SMALL, rx: 13 };
  const name = shape("text", { class: "name", x, y: y + 4, "text-anchor": "middle" }, "CLOSE");
  return shape("g", {}, shape("rect", frame), name);
}
