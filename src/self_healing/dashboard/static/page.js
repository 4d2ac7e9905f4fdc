// What no template can do: say how long ago, draw charts, and say when the page is no longer live.
"use strict";

const STALE_MS = 12000; // twice the stream's beat, and a little: then nobody answers any more

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// -- how long ago

function ago(seconds) {
  const s = Math.abs(Math.round(seconds));
  const [n, unit] = s < 60 ? [s, "s"] : s < 3600 ? [Math.round(s / 60), "min"] : s < 172800 ? [Math.round(s / 3600), "h"] : [Math.round(s / 86400), "d"];
  return seconds >= 0 ? `${n} ${unit} ago` : `in ${n} ${unit}`;
}

// The service's clock is the one that counts: this machine's may be off, and a demo's runs faster than life.
let made = { text: null, at: 0 };

function now() {
  const text = document.getElementById("main").dataset.now;
  if (made.text !== text) made = { text, at: Date.now() };
  return text ? Date.parse(text) + Date.now() - made.at : Date.now();
}

function tellTimes() {
  for (const time of document.querySelectorAll("main time")) {
    const text = ago((now() - Date.parse(time.dateTime)) / 1000);
    if (time.textContent !== text) time.textContent = text;
  }
}

// -- tables, of which a phone makes cards

function nameCells() {
  for (const table of document.querySelectorAll("main table")) {
    const names = [...table.querySelectorAll(":scope > thead th")].map((each) => each.textContent);
    if (!names.length || table.classList.contains("narrow")) continue;
    table.classList.add("cards");
    for (const row of table.tBodies[0].rows) [...row.cells].forEach((cell, column) => { if (names[column] && !cell.dataset.is) cell.dataset.is = names[column]; });
  }
}

// -- charts

const drawn = new WeakMap();

function number(value, unit) {
  if (value == null) return "–";
  if (unit === "%") return `${(100 * value).toPrecision(3).replace(/\.?0+$/, "")} %`;
  return Math.abs(value) >= 1000 ? Math.round(value).toLocaleString("en") : String(+value.toPrecision(3));
}

function times(told) {
  if (told.at) return told.at.map((each) => Date.parse(each) / 1000);
  const until = Date.parse(told.until) / 1000;
  const count = told.series[0].values.length;
  return Array.from({ length: count }, (_, row) => until - (count - 1 - row) * told.step);
}

function draw(element, key, make) {
  const text = element.dataset[key];
  const known = drawn.get(element);
  if (known && known.text === text && known.width === element.clientWidth) return;
  if (known) known.plot.destroy();
  const told = JSON.parse(text);
  drawn.set(element, { text, width: element.clientWidth, plot: make(element, told) });
}

function chart(element, told) {
  const axis = { stroke: css("--soft"), grid: { stroke: css("--line"), width: 1 }, ticks: { show: false }, font: "11px system-ui" };
  const clock = (at) => new Date(at * 1e3).toISOString().slice(11, 16);
  const colours = [css("--accent"), css("--bad"), css("--soft")];
  const series = told.series.map((each, row) => ({
    label: each.label, stroke: colours[row % 3], width: row ? 1.5 : 2, dash: each.dashed ? [6, 4] : undefined,
    fill: row || told.marks ? undefined : `${css("--accent")}22`, points: { show: false }, spanGaps: false,
    value: (_, value) => number(value, told.unit),
  }));
  const marks = told.marks || [];
  return new uPlot({
    width: element.clientWidth, height: element.clientHeight - (marks.length ? 34 : 0), tzDate: (at) => uPlot.tzDate(new Date(at * 1e3), "Etc/UTC"),
    legend: { show: marks.length > 0 }, cursor: { y: false, drag: { setScale: false } },
    scales: { y: { range: (_, low, high) => [Math.min(0, low || 0), (high || 1) * 1.1] } },
    series: [{}, ...series],
    axes: [{ ...axis, size: 28, values: (_, at) => at.map(clock) }, { ...axis, size: 46, values: (_, at) => at.map((each) => number(each, told.unit)) }],
    hooks: { draw: [(plot) => lines(plot, marks)] },
  }, [times(told), ...told.series.map((each) => each.values)], element);
}

// First every line, then every name: no line runs through one.
function lines(plot, marks) {
  const { ctx, bbox } = plot;
  const there = marks.map((mark, row) => ({ ...mark, row: row % 6, x: plot.valToPos(Date.parse(mark.at) / 1000, "x", true) }))
    .filter((mark) => mark.x >= bbox.left && mark.x <= bbox.left + bbox.width);
  const colour = (mark) => css(mark.good ? "--good" : mark.bad ? "--bad" : "--info");
  ctx.save();
  ctx.setLineDash([3, 3]);
  for (const mark of there) {
    ctx.strokeStyle = colour(mark);
    ctx.beginPath(); ctx.moveTo(mark.x, bbox.top); ctx.lineTo(mark.x, bbox.top + bbox.height); ctx.stroke();
  }
  ctx.font = `${11 * devicePixelRatio}px system-ui`;
  ctx.setLineDash([]);
  ctx.lineWidth = 3 * devicePixelRatio;
  ctx.strokeStyle = css("--panel");
  for (const mark of there) {
    const atTheEnd = mark.x > bbox.left + bbox.width - 70 * devicePixelRatio; // there is no room on its right
    const place = [mark.what, atTheEnd ? mark.x - 4 : mark.x + 4, bbox.top + (12 + 13 * mark.row) * devicePixelRatio];
    ctx.fillStyle = colour(mark);
    ctx.textAlign = atTheEnd ? "right" : "left";
    ctx.strokeText(...place); ctx.fillText(...place);
  }
  ctx.restore();
}

function spark(element, values) {
  const at = values.map((_, row) => row);
  return new uPlot({
    width: element.clientWidth, height: element.clientHeight, legend: { show: false }, cursor: { show: false }, padding: [2, 2, 2, 2],
    scales: { x: { time: false } }, axes: [{ show: false }, { show: false }],
    // A minute or two without a sample is no gap; a longer silence is shown as one.
    series: [{}, { stroke: css("--accent"), width: 1.5, points: { show: false }, spanGaps: false, gaps: (_plot, _series, _from, _to, gaps) => gaps.filter(([from, to]) => to - from > 14 * devicePixelRatio) }],
  }, [at, values], element);
}

function drawAll() {
  document.querySelectorAll("[data-chart]").forEach((each) => draw(each, "chart", chart));
  document.querySelectorAll("[data-spark]").forEach((each) => draw(each, "spark", spark));
}

// -- a page that takes a while: for how long it does already, beside what says that it is under way

let since = 0;

function tellWait() {
  const place = document.querySelector(".replaying.htmx-request span");
  since = place ? since || Date.now() : 0;
  const text = place ? `, for ${Math.round((Date.now() - since) / 1000)} s` : "";
  if (place) tell(place, text);
}

// -- whether it is live

let heard = 0;
let loggedOut = false;

function tell(place, text) { if (place.textContent !== text) place.textContent = text; }

// What counts the seconds is beside what is read out, which is said once.
function tellLive() {
  const live = document.getElementById("live");
  const [says, seconds] = live.children;
  const follows = document.getElementById("main").hasAttribute("hx-get");
  const yes = !loggedOut && follows && Date.now() - heard < STALE_MS;
  const late = heard && !yes && !loggedOut && follows;
  live.dataset.live = yes ? "yes" : "no";
  live.querySelector("a").hidden = !loggedOut;
  tell(says, loggedOut ? "logged out: shown as it was then" : !follows ? "shown as it was asked for" : yes ? "live" : late ? "no answer: shown as it was then" : "connecting");
  tell(seconds, late ? ` for ${Math.round((Date.now() - heard) / 1000)} s` : "");
}

// The session is over: nothing is asked for any more until somebody logs in again.
function leave() {
  loggedOut = true;
  const link = document.querySelector("#live a");
  link.href = `/login?next=${encodeURIComponent(location.pathname + location.search)}`;
  tell(link, "Log in again");
  tellLive();
}

// Only here, and not in the page: htmx looks for it as soon as it is loaded, and its extension may not be there yet.
const follow = document.getElementById("follow");
follow.setAttribute("hx-sse:connect", follow.dataset.follow);
htmx.process(follow);
for (const name of ["changed", "alive"]) follow.addEventListener(name, () => { heard = Date.now(); tellLive(); });
follow.addEventListener("htmx:sse:before:connection", (event) => { if (loggedOut) event.preventDefault(); });
follow.addEventListener("htmx:sse:error", (event) => { if (event.detail.status === 401) leave(); });
document.addEventListener("htmx:response:error", (event) => { if (event.detail.ctx.response.status === 401) leave(); });

// What had the focus went with the page that it was on: the new page's heading has it next, and is read out.
function keepFocus() { if (document.activeElement === document.body) document.querySelector("h1[tabindex]")?.focus(); }

document.addEventListener("htmx:after:swap", () => { tellTimes(); nameCells(); drawAll(); keepFocus(); tellLive(); });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  document.querySelectorAll("[data-chart], [data-spark]").forEach((each) => { const known = drawn.get(each); if (known) known.width = -1; });
  drawAll();
});
addEventListener("resize", drawAll);
setInterval(() => { tellTimes(); tellLive(); tellWait(); }, 1000);
tellTimes();
nameCells();
drawAll();
