// Lives as lines that unfold to their story, which is asked for when it is wanted.

import { duration, element, say, timeOfDay } from "./dom.js";

export function makeLife(told) {
  const parts = {
    when: element("span"),
    what: element("span", { class: "what" }),
    who: element("span", { class: "who" }),
    story: element("div", { class: "story", role: "region", tabindex: "0" }),
  };
  const node = element("details", { class: "life" },
    element("summary", {}, parts.when, parts.what, parts.who), parts.story);
  node.parts = parts;
  node.addEventListener("toggle", () => { if (node.open) tellStory(node, told.id); });
  return node;
}

export function updateLife(node, told, what) {
  const { when, what: title, who, story } = node.parts;
  say(when, timeOfDay(told.began_at, 3));
  say(title, what);
  const ends = `${told.local} ${{ client: "→", server: "←" }[told.role] ?? "↔"} ${told.remote}`;
  story.setAttribute("aria-label", `Timeline of ${ends}, ${what}`);
  say(who, [ends, told.process, ...told.troubles].filter(Boolean).join(" · "));
  if (node.open && node.state !== told.state) tellStory(node, told.id);
  node.state = told.state;
}

export function slowText(told) {
  const pieces = [];
  if (told.handshake_ns !== null) pieces.push(`handshake ${duration(told.handshake_ns)}`);
  if (told.accept_wait_ns !== null) pieces.push(`accept() after ${duration(told.accept_wait_ns)}`);
  return pieces.join(" · ");
}

async function tellStory(node, id) {
  const { story } = node.parts;
  try {
    const answer = await fetch(`stories/${id}.json`);
    if (answer.status === 404) return say(story, "It is no longer kept.");
    if (!answer.ok) return say(story, `The server answers ${answer.status}.`);
    const told = await answer.json();
    const body = element("tbody");
    for (const line of told.lines) {
      body.append(element("tr", {},
        element("td", { class: "number" }, `+${(line.offset_ns / 1e9).toFixed(6)} s`),
        element("td", { class: { bad: "bad", warn: "warn", good: "good" }[line.colour] ?? "" }, line.text)));
    }
    const notes = [...told.where, ...told.remarks].join(" · ");
    story.replaceChildren(element("table", {}, body), element("p", { class: "dim" }, notes));
  } catch {
    say(story, "The server does not answer.");
  }
}
