// The live page: lays each change over what is shown. One element a gun, touched only when something changed.

import { Feed } from "./feed.js";
import { ALARMS, GROUPS, PILE_STATES, REASONS, age, both, clock, gunWords, kilowatt, kilowattHours, span, yuan } from "./words.js";

const DENSE_FROM = 160; // guns on the page from which tiles are drawn small
const TICKER_LENGTH = 40;

const $ = (id) => document.getElementById(id);
const piles = new Map(); // pile code → {view, element, guns: Map(gun number → {view, element, parts})}
const stations = new Map(); // station id → {element, sum, codes}
let counts = null; // counts by the server when it shows only a part
let faultTexts = {};
let filter = "all";
let isDirty = false;

const feed = new Feed("/ws", { onMessage, onLink });

function onMessage(message) {
  if (message.type === "snapshot") drawAll(message);
  else if (message.type === "changes") message.events.forEach(apply);
  else if (message.type === "counts") counts = message;
  isDirty = true;
}

function onLink(isUp, waitMs) {
  $("dot").className = isUp ? "dot up" : "dot down";
  $("banner").hidden = isUp;
  if (!isUp) {
    const seconds = Math.max(1, Math.round(waitMs / 1000));
    const words = [`与服务器的连接已断开，${seconds} 秒后重试；下面是断开前的状态。`, `Connection lost, retrying in ${seconds} s; shown is the state before.`];
    $("banner").replaceChildren(...both("p", words).childNodes);
  }
}

function apply(event) {
  if (event.type === "gun") changeGun(event);
  else if (event.type === "pile") changePile(event);
  if (event.type !== "gun") addToTicker(event);
}

// ── Drawing ──────────────────────────────────────────────────────────────────────────────────────────────────────

function drawAll(snapshot) {
  piles.clear();
  stations.clear();
  faultTexts = snapshot.fault_texts ?? faultTexts;
  counts = snapshot.is_partial ? snapshot : null;
  const guns = snapshot.stations.reduce((sum, station) => sum + station.piles.reduce((n, pile) => n + pile.guns.length, 0), 0);
  document.body.classList.toggle("dense", guns >= DENSE_FROM);
  const root = $("stations");
  root.replaceChildren(...snapshot.stations.map(drawStation));
  if (snapshot.stations.length === 0) {
    root.append(both("p", ["还没有站和桩。用 pileward pile add 登记第一台。", "No stations and piles yet: register the first with pileward pile add."], "empty"));
  }
  const hidden = snapshot.is_partial ? [`此页显示前 ${guns} 把枪，计数含全部。`, `The first ${guns} guns are shown; the counters include all.`] : ["", ""];
  $("note").replaceChildren(...both("span", hidden).childNodes);
  $("ticker").replaceChildren();
  (snapshot.events ?? []).forEach(addToTicker);
  search();
}

function drawStation(station) {
  const element = document.createElement("section");
  element.className = "station";
  element.dataset.station = station.station_id;
  const header = document.createElement("header");
  header.append(both("h2", [station.name_zh, station.name_en]));
  const address = document.createElement("span");
  address.className = "address";
  address.textContent = station.address;
  const sum = document.createElement("span");
  sum.className = "sum";
  header.append(address, sum);
  const grid = document.createElement("div");
  grid.className = "piles";
  grid.append(...station.piles.map((pile) => drawPile(pile, station)));
  element.append(header, grid);
  stations.set(station.station_id, { element, sum, codes: station.piles.map((pile) => pile.pile_code) });
  return element;
}

function drawPile(view, station) {
  const element = document.createElement("article");
  element.className = "pile";
  element.dataset.pile = view.pile_code;
  const header = document.createElement("header");
  const name = document.createElement("h3");
  name.textContent = view.name || view.pile_code;
  const code = document.createElement("a");
  code.className = "code";
  code.href = `/debug?pile=${encodeURIComponent(view.pile_code)}`;
  code.textContent = view.pile_code;
  const kind = document.createElement("span");
  kind.className = "kind";
  const power = view.rated_power_w ? ` ${Math.round(view.rated_power_w / 1000)} kW` : "";
  kind.textContent = { dc: "直流 DC", ac: "交流 AC" }[view.kind] + power;
  header.append(name, ...(view.name && view.name !== view.pile_code ? [code] : []), kind);
  if (!view.name || view.name === view.pile_code) name.replaceChildren(code);
  const state = document.createElement("p");
  state.className = "state";
  element.append(header, state);
  const entry = { view, element, state, guns: new Map(), station: station.name_zh, text: `${station.name_zh} ${station.name_en} ${station.code} ${view.name} ${view.pile_code}`.toLowerCase() };
  for (const gun of view.guns) {
    const drawn = drawGun(gun);
    entry.guns.set(gun.gun_no, drawn);
    element.append(drawn.element);
  }
  piles.set(view.pile_code, entry);
  showPile(entry);
  silenceQuarantined(entry);
  return element;
}

function drawGun(view) {
  const element = document.createElement("div");
  element.className = "gun";
  element.dataset.gun = view.gun_no;
  element.innerHTML = `<span class="no"></span><div><p class="word"></p><p class="more"></p><p class="age"></p></div>
    <div class="figures"><b></b><small></small></div><div class="bar"><i></i></div>`;
  const find = (selector) => element.querySelector(selector);
  const gun = { view, element, word: find(".word"), more: find(".more"), age: find(".age"), big: find("b"), small: find("small"), figures: find(".figures"), bar: find(".bar") };
  find(".no").textContent = view.gun_no;
  showGun(gun);
  return gun;
}

function showGun(gun) {
  const view = gun.view;
  const [zh, en, group] = gunWords(view.state);
  const isCharging = group === "charging";
  gun.element.dataset.group = group;
  gun.element.dataset.state = view.state;
  gun.word.replaceChildren(...both("p", [zh, en]).childNodes);
  if (view.is_plugged && group === "idle") gun.word.append(both("span", ["已插枪", "plugged"], "plug"));
  gun.more.replaceChildren();
  if (view.fault_codes?.length) {
    for (const code of view.fault_codes) gun.more.append(both("span", faultTexts[code] ?? [code, ""], "fault"), " ");
  } else if (isCharging) {
    const facts = [];
    if (view.energy_e4_kwh != null) facts.push(kilowattHours(view.energy_e4_kwh));
    if (view.amount_e4_yuan != null) facts.push(yuan(view.amount_e4_yuan));
    if (view.remaining_s) facts.push(`剩 ${span(view.remaining_s)}`);
    gun.more.textContent = facts.join(" · ");
  }
  gun.figures.hidden = !isCharging;
  gun.bar.hidden = !isCharging || view.soc_pct == null;
  if (isCharging) {
    const power = view.power_w != null ? kilowatt(view.power_w) : "";
    gun.big.textContent = view.soc_pct != null ? `${view.soc_pct} %` : power;
    gun.small.textContent = view.soc_pct != null ? power : "";
    gun.bar.firstChild.style.setProperty("--soc", `${view.soc_pct ?? 0}%`);
  }
  showAge(gun);
}

function showAge(gun) {
  const view = gun.view;
  const isGone = gunWords(view.state)[2] === "offline";
  const moment = isGone ? (view.since ?? view.at) : view.at;
  if (!moment) return void (gun.age.textContent = "");
  const [zh, en] = age((feed.now() - Date.parse(moment)) / 1000);
  const text = isGone ? [`自 ${clock(moment)} · ${zh}`, `since ${clock(moment)} · ${en}`] : [zh, en];
  if (gun.ageText === text[0]) return;
  gun.ageText = text[0];
  gun.age.replaceChildren(...both("p", text).childNodes);
}

function showPile(entry) {
  const view = entry.view;
  const words = PILE_STATES[view.state] ?? [view.state, ""];
  const reason = REASONS[view.reason] ?? (view.reason ? [view.reason, view.reason] : null);
  const isPlain = view.state === "online" && view.tariff_ok;
  entry.element.dataset.state = view.state;
  entry.state.hidden = isPlain;
  if (isPlain) return;
  const zh = [words[0]], en = [words[1]];
  if (view.state === "online") zh.push("计费模型待确认"), en.push("tariff not confirmed yet");
  else if (reason) zh.push(reason[0]), en.push(reason[1]);
  if (view.since && view.state !== "online") zh.push(`自 ${clock(view.since)}`), en.push(`since ${clock(view.since)}`);
  entry.state.replaceChildren(...both("p", [zh.join(" · "), en.join(" · ")]).childNodes);
}

// ── Changes ──────────────────────────────────────────────────────────────────────────────────────────────────────

function changeGun(event) {
  const gun = piles.get(event.pile_code)?.guns.get(event.gun_no);
  if (!gun) return;
  const isNews = gun.view.state !== event.state;
  const since = isNews ? event.at : gun.view.since;
  gun.view = { ...event, since: event.since ?? since };
  showGun(gun);
  if (isNews) {
    gun.element.classList.remove("fresh");
    requestAnimationFrame(() => gun.element.classList.add("fresh"));
  }
}

function changePile(event) {
  const entry = piles.get(event.pile_code);
  if (!entry) return;
  const since = entry.view.state === event.state ? entry.view.since : event.at;
  entry.view = { ...entry.view, state: event.state, reason: event.reason, tariff_ok: event.tariff_ok, since };
  showPile(entry);
  silenceQuarantined(entry);
}

/** Nobody listens to a quarantined pile, so what its guns said last is no longer true. */
function silenceQuarantined(entry) {
  if (entry.view.state !== "quarantined") return;
  for (const gun of entry.guns.values()) {
    gun.view = { ...gun.view, state: "offline", since: entry.view.since };
    showGun(gun);
  }
}

function addToTicker(event) {
  if (event.reason === "tariff" || event.reason === "changed") return; // shown on the pile; no news for the street
  const item = document.createElement("li");
  const when = document.createElement("time");
  when.className = "when";
  when.dateTime = event.at;
  when.textContent = clock(event.at);
  item.append(when);
  const entry = piles.get(event.pile_code);
  // Piles are named within their station: only both together tell which.
  const name = entry ? `${entry.station} ${entry.view.name}` : event.pile_code || "平台";
  const where = event.gun_no ? `${name} · ${event.gun_no} 号枪` : name;
  const title = document.createElement("b");
  title.textContent = where;
  item.append(title, " ");
  if (event.type === "alarm") {
    item.dataset.tone = event.is_open ? { fault: "bad", warning: "warn" }[event.severity] ?? "" : "good";
    const [zh, en] = event.text ? event.text.split(" / ") : alarmWords(event.kind);
    item.append(both("span", event.is_open ? [`告警：${zh}`, en] : [`告警解除：${zh}`, `cleared: ${en}`]));
  } else {
    const state = PILE_STATES[event.state] ?? [event.state, event.state];
    const reason = REASONS[event.reason] ?? [event.reason, event.reason];
    item.dataset.tone = { online: "good", offline: "warn", quarantined: "bad" }[event.state] ?? "";
    item.append(both("span", [`${state[0]} · ${reason[0]}`, `${state[1]} · ${reason[1]}`]));
  }
  const list = $("ticker");
  list.prepend(item);
  while (list.children.length > TICKER_LENGTH) list.lastChild.remove();
}

function alarmWords(kind) {
  return faultTexts[kind.replace(/^fault:/, "")] ?? ALARMS[kind] ?? [kind, kind];
}

// ── Counters, filter, search, ages ───────────────────────────────────────────────────────────────────────────────

function tally() {
  const guns = Object.fromEntries(Object.keys(GROUPS).map((group) => [group, 0]));
  let online = 0, power = 0;
  for (const { view, guns: own } of piles.values()) {
    if (view.state === "online") online += 1;
    for (const { view: gun } of own.values()) {
      guns[gunWords(gun.state)[2]] += 1;
      if (gun.power_w && gunWords(gun.state)[2] === "charging") power += gun.power_w;
    }
  }
  if (counts) {
    for (const group of Object.keys(guns)) guns[group] = 0;
    for (const [state, n] of Object.entries(counts.gun_counts)) guns[gunWords(state)[2]] += n;
    online = counts.pile_counts.online ?? 0;
  }
  const all = counts ? Object.values(counts.pile_counts).reduce((sum, n) => sum + n, 0) : piles.size;
  return { guns, online, all, power };
}

function showCounters() {
  const { guns, online, all, power } = tally();
  const rows = [["online", ["在线桩", "piles online"], `${online}<small> / ${all}</small>`]];
  for (const [group, words] of Object.entries(GROUPS)) {
    if (group === "maintenance" && !guns[group]) continue;
    rows.push([group, words, String(guns[group])]);
  }
  rows.push(["power", ["当前功率", "power now"], kilowatt(power).replace(" ", "<small> ") + "</small>"]);
  const root = $("counters");
  for (const [key, words, html] of rows) {
    let box = root.querySelector(`[data-counter="${key}"]`);
    if (!box) {
      const isFilter = key in GROUPS;
      box = document.createElement(isFilter ? "button" : "div");
      box.className = "counter";
      box.dataset.counter = key;
      if (isFilter) {
        box.type = "button";
        box.dataset.group = key;
        box.setAttribute("aria-pressed", "false");
        box.onclick = () => setFilter(filter === key ? "all" : key);
      }
      box.append(document.createElement("b"), both("span", words));
      root.append(box);
    }
    if (box.firstChild.innerHTML !== html) box.firstChild.innerHTML = html;
  }
  if (!guns.maintenance) root.querySelector('[data-counter="maintenance"]')?.remove();
  for (const { sum, codes } of stations.values()) {
    const own = { idle: 0, charging: 0, fault: 0, all: 0 };
    for (const code of codes) for (const { view } of piles.get(code).guns.values()) {
      const group = gunWords(view.state)[2];
      own.all += 1;
      if (group in own) own[group] += 1;
    }
    sum.textContent = `${own.all} 枪 guns · 空闲 idle ${own.idle} · 充电 charging ${own.charging}` + (own.fault ? ` · 故障 fault ${own.fault}` : "");
  }
}

function setFilter(next) {
  filter = next;
  document.body.dataset.filter = next;
  for (const box of document.querySelectorAll("button.counter")) box.setAttribute("aria-pressed", String(box.dataset.counter === next));
}

function search() {
  const words = $("search").value.trim().toLowerCase().split(/\s+/).filter(Boolean);
  for (const entry of piles.values()) entry.element.hidden = !words.every((word) => entry.text.includes(word));
  for (const { element, codes } of stations.values()) {
    element.hidden = words.length > 0 && codes.every((code) => piles.get(code).element.hidden);
  }
}

$("search").addEventListener("input", search);

// Only guns on the screen need their ages moved; with thousands on the page that is what keeps it quiet.
setInterval(() => {
  if (document.hidden) return;
  for (const { element, guns } of piles.values()) {
    const box = element.getBoundingClientRect();
    if (box.bottom > 0 && box.top < innerHeight) for (const gun of guns.values()) showAge(gun);
  }
  if (feed.isUp) {
    const [zh, en] = age(feed.quiet());
    $("link").replaceChildren(...both("span", [`已连接 · 更新于 ${zh}`, `live · updated ${en}`]).childNodes);
  } else {
    $("link").replaceChildren(...both("span", ["连接断开", "connection lost"]).childNodes);
  }
}, 1_000);

setInterval(() => {
  if (!isDirty) return;
  isDirty = false;
  showCounters();
}, 400);
