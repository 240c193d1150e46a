// Makes elements. Text only ever becomes a text node: names come from whoever runs a process.

const SVG = "http://www.w3.org/2000/svg";

export function element(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

export function shape(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

export const byId = (id) => document.getElementById(id);

export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// Has a node's children be those of some things, in their order. A child stays while its thing's key does,
// so that focus and what is unfolded stay; `update` is called for each.
export function keep(parent, things, keyOf, make, update) {
  const known = parent.kept ?? (parent.kept = new Map());
  const wanted = new Map();
  for (const thing of things) {
    const key = keyOf(thing);
    if (wanted.has(key)) continue;
    const node = known.get(key) ?? make(thing);
    update(node, thing);
    wanted.set(key, node);
  }
  for (const [key, node] of known) if (!wanted.has(key)) node.remove();
  let place = parent.firstElementChild;
  for (const node of wanted.values()) {
    if (node === place) place = place.nextElementSibling;
    else parent.insertBefore(node, place);
  }
  parent.kept = wanted;
}

const UNITS = [[3600e9, "h"], [60e9, "min"], [1e9, "s"], [1e6, "ms"], [1e3, "µs"]];

export function duration(ns) {
  if (ns === null || ns === undefined) return "–";
  for (const [size, unit] of UNITS) {
    if (ns >= size) {
      const value = ns / size;
      return `${value >= 100 ? Math.round(value) : Number(value.toPrecision(3))} ${unit}`;
    }
  }
  return ns ? "<1 µs" : "0";
}

export function rate(number) {
  if (!number) return "0";
  return number >= 100 ? count(Math.round(number)) : String(Number(number.toFixed(number < 10 ? 1 : 0))) || "0";
}

export const count = (number) => number.toLocaleString("en");

export function timeOfDay(at, digits = 0) {
  if (!at) return "–";
  const time = new Date(at);
  const told = time.toLocaleTimeString("en-GB");
  return digits ? `${told}.${String(time.getMilliseconds()).padStart(3, "0")}` : told;
}
