// Asks the server every two seconds what is going on, and shows it.

import { drawDiagram } from "./diagram.js";
import { byId, count, duration, element, keep, rate, say, timeOfDay } from "./dom.js";
import { makeListener, updateListener } from "./listeners.js";
import { makeLife, slowText, updateLife } from "./lives.js";

const PERIOD_MS = 2000;
const PATIENCE_MS = 10000;
const STATES = {
  live: ["Live", "good"],
  replaying: ["Replaying a recording", "warn"],
  over: ["The recording is over", "warn"],
  damaged: ["The recording is damaged", "bad"],
};

const FEW = 12;
const unfolded = new Set();

let paused = false;
let last = null;

async function ask() {
  if (!paused && !document.hidden) {
    try {
      const answer = await fetch("now.json", { signal: AbortSignal.timeout(PATIENCE_MS) });
      if (!answer.ok) throw new Error(`the server answers ${answer.status}`);
      last = await answer.json();
      show(last);
    } catch (error) {
      showGone(error);
    }
  }
  setTimeout(ask, PERIOD_MS);
}

function show(now) {
  const { trace } = now;
  const [words, colour] = STATES[trace.state] ?? [trace.state, "warn"];
  showState(words, colour);
  say(byId("host"), trace.hostname);
  document.title = `${now.verdicts.length ? `(${now.verdicts.length}) ` : ""}${trace.hostname} · tcptrace`;
  say(byId("trace"), `kernel ${trace.kernel} · ${trace.what} by ${trace.carrier} since ${since(trace.began_at)}`);
  say(byId("when"), `as of ${timeOfDay(now.at)}`);
  say(byId("version"), `tcptrace ${trace.version}`);
  showNotes(now.notes);
  showVerdicts(now);
  showListeners(now);
  showLives(now);
  showDrops(now);
  drawDiagram(byId("diagram"), now.sockets, now.transitions);
  showTransitions(now.transitions);
}

function showGone(error) {
  showState("No answer", "bad");
  const why = error.name === "TimeoutError" ? "it takes too long" : error.message;
  const since = last ? `What is below is as of ${timeOfDay(last.at)}.` : "Nothing is known yet.";
  showNotes([{ level: "bad", text: `The server does not answer (${why}). ${since}` }]);
}

function showState(words, colour) {
  say(byId("state"), paused ? "Paused" : words);
  byId("state").className = `pill ${paused ? "warn" : colour}`;
}

function since(at) {
  return at ? new Date(at).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" }) : "an unknown time";
}

function showNotes(notes) {
  keep(byId("notes"), notes, (note) => note.text, () => element("p"), (node, note) => {
    node.className = `note ${note.level === "bad" ? "bad" : "warn"}`;
    say(node, note.text);
  });
}

function showVerdicts(now) {
  const told = now.verdicts.map((one) => ({ ...one, key: [one.cause, one.netns, one.address, one.port].join(" ") }));
  if (!told.length) {
    const words = now.steps_at.length ? "Nothing, as far as tcptrace can tell." : "Nothing yet.";
    told.push({ key: "none", headline: words });
  }
  keep(byId("verdict-list"), told, (one) => one.key, makeVerdict, updateVerdict);
}

function makeVerdict(told) {
  if (told.key === "none") return element("p", { class: "good" });
  return element("article", {}, element("h3"), element("p"), element("p", { class: "advice" }));
}

function updateVerdict(node, told) {
  if (told.key === "none") return say(node, told.headline);
  node.className = `verdict ${told.confidence === "certain" ? "bad" : "warn"}`;
  const [title, evidence, advice] = node.children;
  say(title, told.headline);
  say(evidence, told.evidence);
  say(advice, told.advice);
}

function showListeners(now) {
  keep(byId("listeners"), now.listeners, (one) => [one.netns, one.address, one.port].join(" "),
    makeListener, updateListener);
  const more = now.listeners_left_out;
  const none = now.listeners.length ? "" : "Nobody listens, as far as is known.";
  say(byId("listeners-more"), more ? `${count(more)} quieter ones are not shown; “tcptrace listeners” has them all.` : none);
}

function showLives(now) {
  keep(byId("slow"), some("slow", now.slow), (one) => one.id, makeLife,
    (node, one) => updateLife(node, one, slowText(one)));
  const more = now.slow_left_out ? ` ${count(now.slow_left_out)} more since the trace began were only counted.` : "";
  say(byId("slow-about"), now.slow.length
    ? `The slowest of each of the last 15 minutes, from ${duration(now.slow_from_ns)} on.${more}`
    : `None took ${duration(now.slow_from_ns)} in the last 15 minutes.`);
  keep(byId("failed"), some("failed", now.failed), (one) => one.id, makeLife, (node, one) => updateLife(node, one, one.end));
  const sums = Object.entries(now.failed_total).map(([how, number]) => `${count(number)} ${how.replaceAll("_", " ")}`);
  say(byId("failed-about"), sums.length ? `Since the trace began: ${sums.join(", ")}. The last ones:` : "None.");
}

// The first few of a list, unless all are wanted.
function some(name, things) {
  const button = document.querySelector(`[data-of=${name}]`);
  button.hidden = things.length <= FEW;
  say(button, unfolded.has(name) ? "Show fewer" : `Show all ${things.length}`);
  return unfolded.has(name) ? things : things.slice(0, FEW);
}

function showDrops(now) {
  say(byId("drops-about"), now.drops_total
    ? `${count(now.drops_total)} were told of since the trace began; the last ones, the latest first.`
    : "None.");
  const drops = some("drops", now.drops);
  const told = JSON.stringify(drops);
  const body = byId("drops").tBodies[0];
  byId("drops").hidden = !now.drops.length;
  if (body.told === told) return;
  body.told = told;
  body.replaceChildren(...drops.map((drop) => element("tr", {},
    element("td", {}, timeOfDay(drop.at, 3)),
    element("td", { class: "bad" }, drop.words),
    element("td", {}, [drop.listener, drop.owner, ...drop.where].filter(Boolean).join(" · ")),
    element("td", {}, drop.peer),
    element("td", {}, `${count(drop.accept_queue_len)} of ${count(drop.accept_queue_limit)}`),
    element("td", {}, count(drop.syn_queue_len)))));
}

function showTransitions(transitions) {
  const body = byId("transitions").tBodies[0];
  keep(body, transitions, (one) => `${one.from} ${one.to}`, (one) => element("tr", {},
    element("td", {}, one.from), element("td", {}, one.to), element("td"), element("td")), (row, one) => {
    say(row.children[2], rate(one.rate));
    say(row.children[3], count(one.total));
  });
}

byId("pause").addEventListener("click", () => {
  paused = !paused;
  byId("pause").setAttribute("aria-pressed", paused);
  if (last) show(last);
});
for (const button of document.querySelectorAll("[data-of]")) {
  button.addEventListener("click", () => {
    const name = button.dataset.of;
    if (!unfolded.delete(name)) unfolded.add(name);
    if (last) show(last);
  });
}
ask();
