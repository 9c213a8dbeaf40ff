// The debug page: the actor tree, one actor or charge with its machines, frames as they pass, decoding by hand.

import { Feed } from "./feed.js";
import { sessionView } from "./session.js";
import { age, both, clock, kilowatt, kilowattHours } from "./words.js";

const REFRESH_MS = 2_000;
const ROWS_MAX = 400;

const $ = (id) => document.getElementById(id);
const state = { at: "", cursors: [], chosen: null, pile: null, session: null, tail: null, machines: null };

// ── Asking ───────────────────────────────────────────────────────────────────────────────────────────────────────

async function ask(path, options) {
  const response = await fetch(path, { headers: { Accept: "application/json" }, credentials: "same-origin", ...options });
  const body = await response.json().catch(() => null);
  if (response.status === 401) location.reload(); // the page in its place asks for the token
  if (!response.ok) throw new Error(body?.message ?? `HTTP ${response.status}`);
  return body;
}

async function trying(work) {
  try {
    await work();
    $("banner").hidden = true;
  } catch (error) {
    $("banner").textContent = error.message;
    $("banner").hidden = false;
  }
}

function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name in element && name !== "list") element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
}

// ── The tree ─────────────────────────────────────────────────────────────────────────────────────────────────────

async function showTree({ append = false } = {}) {
  const query = new URLSearchParams({ path: state.at, limit: "50" });
  if (append && state.next) query.set("cursor", state.next);
  const tree = await ask(`/debug/actors?${query}`);
  state.next = tree.children.next;
  showEngine(tree.engine);
  showCrumbs();
  const rows = tree.children.items.map(treeRow);
  if (append) $("tree").append(...rows);
  else $("tree").replaceChildren(...rows);
  if (!append && rows.length === 0) $("tree").append(el("tr", {}, el("td", { colSpan: 5, className: "soft" }, "没有下级 / no children")));
  $("more").hidden = !state.next;
}

function treeRow(row) {
  const name = el("a", { href: `?path=${encodeURIComponent(row.path)}` }, row.label || row.actor_class);
  const tr = el("tr", { title: row.path }, el("td", {}, name, " ", el("span", { className: "soft" }, row.label ? row.actor_class : "")),
    el("td", {}, badge(row.is_quarantined ? "quarantined" : row.state)), number(row.children), number(row.mailbox_depth), number(row.failures));
  tr.dataset.path = row.path;
  if (row.path === state.chosen) tr.className = "chosen";
  tr.onclick = (event) => {
    event.preventDefault();
    choose({ path: row.path }, row.children > 0);
  };
  return tr;
}

function number(value) {
  return el("td", { className: "num" }, value ? String(value) : "·");
}

function badge(text) {
  if (!text) return "";
  const tone = { online: "good", idle: "good", charging: "good", quarantined: "bad", fault: "bad", offline: "warn", registering: "warn" }[text] ?? "";
  return el("span", { className: `badge ${tone}` }, text);
}

function showEngine(engine) {
  const [up] = age((Date.parse(engine.now) - Date.parse(engine.started_at)) / 1000);
  const facts = [
    ["桩 piles", engine.piles], ["已处理消息 handled", engine.handled.toLocaleString()], ["排队 waiting", engine.waiting], ["失败 failures", engine.failures],
    ["隔离 quarantined", engine.quarantined.length], ["死信 dead letters", engine.dead_letters], ["信箱溢出 overflows", engine.overflows], ["启动于 started", up],
    ["时钟 clock", `${clock(engine.now)}${engine.clock_rate === 1 ? "" : ` ×${engine.clock_rate}`}`],
  ];
  $("engine").replaceChildren(...facts.map(fact));
}

function fact([name, value]) {
  return el("div", {}, el("dt", {}, name), el("dd", {}, value === null || value === undefined || value === "" ? "–" : value instanceof Node ? value : String(value)));
}

function showCrumbs() {
  const crumbs = $("crumbs");
  crumbs.replaceChildren(crumb("顶层 top", ""));
  let path = "";
  for (const part of state.at.split("/").filter(Boolean)) {
    path += `/${part}`;
    crumbs.append(" / ", crumb(part, path));
  }
}

function crumb(text, path) {
  const link = el("a", { href: "#" }, text);
  link.onclick = (event) => {
    event.preventDefault();
    if (path) choose({ path }, true);
    else {
      state.at = "";
      trying(showTree);
    }
  };
  return link;
}

// ── One actor ────────────────────────────────────────────────────────────────────────────────────────────────────

function choose({ path, pile, session }, descend = false) {
  stopTail();
  Object.assign(state, { chosen: path ?? null, pile: pile ?? null, session: session ?? null, frames: null });
  const query = new URLSearchParams(path ? { path } : session ? { session } : { pile });
  history.replaceState(null, "", `?${query}`);
  if (descend) state.at = path;
  $("actor").replaceChildren();
  trying(async () => {
    if (descend) await showTree();
    await showActor();
  });
}

async function showActor() {
  if (state.session) return showSession();
  if (!state.chosen && !state.pile) return;
  const { info, parent } = await ask(state.chosen ? `/debug/actor?path=${encodeURIComponent(state.chosen)}` : `/debug/piles/${encodeURIComponent(state.pile)}`);
  state.chosen = info.path;
  if (info.actor_class === "SessionActor") return choose({ session: info.detail.serial });
  const code = info.actor_class.startsWith("Pile") ? info.detail.pile_code : null;
  state.pile = code;
  document.querySelectorAll("#tree tr").forEach((tr) => tr.classList.toggle("chosen", tr.dataset.path === info.path));
  const root = $("actor");
  if (!root.querySelector(".summary")) root.replaceChildren(el("div", { className: "summary" }), el("div", { className: "tail" }));
  const summary = root.querySelector(".summary");
  const scrolled = summary.querySelector(".scroll")?.scrollTop ?? 0;
  const open = new Set([...summary.querySelectorAll("details[open]")].map((details) => details.dataset.key));
  const { transitions = [], guns = [], ...rest } = info.detail;
  summary.replaceChildren(
    el("h2", {}, code ?? info.actor_class, " ", badge(info.is_quarantined ? "quarantined" : info.state), " ", el("span", { className: "soft mono" }, info.path)),
    ...(info.last_error ? [el("p", { className: "error" }, `最后错误 last error: ${info.last_error}`)] : []),
    el("dl", { className: "facts" }, ...[
      ["上级 parent", parent ?? "–"], ["信箱 mailbox", info.mailbox_depth], ["已处理 handled", info.handled], ["失败 failures", info.failures],
      ["重启 restarts", info.restarts], ["定时器 timers", info.timers], ["下级 children", info.children], ["年龄 age", `${Math.round(info.age_s)} s`],
      ...Object.entries(rest).filter(([, value]) => typeof value !== "object" || value === null).map(([key, value]) => [key, key === "since" && value ? clock(value) : value]),
    ].map(fact)),
  );
  const objects = Object.entries(rest).filter(([, value]) => typeof value === "object" && value !== null && Object.keys(value).length > 0);
  if (code) summary.append(await diagrams(info, guns));
  if (guns.length) summary.append(gunTable(guns), fold("guns", "枪的全部数据 all gun data", guns));
  for (const [key, value] of objects) summary.append(fold(key, key, value));
  if (transitions.length) summary.append(transitionTable(transitions));
  for (const details of summary.querySelectorAll("details")) details.open = open.has(details.dataset.key);
  if (summary.querySelector(".scroll")) summary.querySelector(".scroll").scrollTop = scrolled;
  if (code && !state.frames) startFrames(code);
}

/** One charge; it is there for good, whether or not its actor still lives. */
async function showSession() {
  const inside = await ask(`/debug/sessions/${encodeURIComponent(state.session)}`);
  state.machines ??= await ask("/debug/machines");
  const root = $("actor");
  const open = new Set([...root.querySelectorAll("details[open]")].map((details) => details.dataset.key));
  const machine = state.machines.find(({ name }) => name === inside.machine);
  const view = sessionView(inside, machine, { el, badge, fact, fold, figure });
  const link = el("a", { href: `?pile=${encodeURIComponent(inside.charge.row.pile_code)}` }, "它的桩 its pile");
  link.onclick = (event) => {
    event.preventDefault();
    choose({ pile: inside.charge.row.pile_code });
  };
  root.replaceChildren(view, el("p", {}, link));
  for (const details of root.querySelectorAll("details")) details.open = open.has(details.dataset.key);
}

function gunTable(guns) {
  const cells = (gun) => [
    gun.gun_no, badge(gun.state), gun.reported_state ?? "", gun.since ? clock(gun.since) : "–", gun.telemetry_age_s != null ? `${gun.telemetry_age_s} s` : "–", gun.is_plugged ? "是 yes" : gun.is_plugged === false ? "否 no" : "–",
    gun.soc_pct != null ? `${gun.soc_pct} %` : "–", gun.power_w != null ? kilowatt(gun.power_w) : "–", gun.energy_e4_kwh != null ? kilowattHours(gun.energy_e4_kwh) : "–", (gun.fault_codes ?? []).join(", ") || "–",
  ];
  const names = ["枪 gun", "显示 shown", "上报 reported", "自 since", "数据 data age", "插枪 plugged", "SOC", "功率 power", "电量 energy", "故障 faults"];
  return el("table", {}, el("thead", {}, el("tr", {}, ...names.map((name) => el("th", {}, name)))), el("tbody", {}, ...guns.map((gun) => el("tr", {}, ...cells(gun).map((cell) => el("td", {}, cell instanceof Node ? cell : String(cell)))))));
}

function fold(key, title, value) {
  const details = el("details", {}, el("summary", {}, title), el("pre", {}, JSON.stringify(value, null, 1)));
  details.dataset.key = key;
  return details;
}

function transitionTable(rows) {
  const body = el("tbody", {}, ...rows.toReversed().map((row) => el("tr", {}, el("td", { className: "num" }, clock(row.at)), el("td", {}, row.machine), el("td", {}, row.event), el("td", {}, `${row.from} → ${row.to}`))));
  const head = el("thead", {}, el("tr", {}, el("th", {}, "时间 at"), el("th", {}, "状态机 machine"), el("th", {}, "事件 event"), el("th", {}, "变化 change")));
  return el("div", {}, el("h3", {}, both("span", ["最近转换", "last transitions"])), el("div", { className: "scroll" }, el("table", {}, head, body)));
}

// ── State diagrams: states on an ellipse, one arrow for each pair ────────────────────────────────────────────────

async function diagrams(info, guns) {
  state.machines ??= await ask("/debug/machines");
  const box = el("div", { className: "machines" });
  for (const machine of state.machines) {
    if (machine.name === "session") continue;
    if (machine.name === "pile") box.append(figure(machine, info.state === "maintenance" ? "online" : info.state, "桩 pile"));
    else for (const gun of guns.slice(0, 4)) box.append(figure(machine, gun.reported_state ?? gun.state, `${gun.gun_no} 号枪 gun ${gun.gun_no}`));
  }
  return box;
}

function figure(machine, now, title) {
  const [w, h, rx, ry, bw, bh] = machine.states.length > 10 ? [760, 440, 305, 190, 124, 28] : [420, 280, 160, 108, 88, 26];
  const at = new Map(machine.states.map((name, i) => {
    const turn = (i / machine.states.length) * 2 * Math.PI - Math.PI / 2;
    return [name, { x: w / 2 + rx * Math.cos(turn), y: h / 2 + ry * Math.sin(turn) }];
  }));
  const pairs = new Map();
  for (const edge of machine.edges) {
    if (edge.state === edge.target) continue;
    const key = `${edge.state} → ${edge.target}`;
    pairs.set(key, { ...edge, events: [...(pairs.get(key)?.events ?? []), edge.event + (edge.guard ? ` [${edge.guard}]` : "")] });
  }
  const svg = ['<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto-start-reverse"><path class="head" d="M0 0 8 4 0 8z"/></marker></defs>'];
  for (const [key, pair] of pairs) {
    const from = at.get(pair.state), to = at.get(pair.target);
    if (!from || !to) continue;
    const a = border(from, to, bw, bh), b = border(to, from, bw, bh);
    const mx = (a.x + b.x) / 2 - (b.y - a.y) * 0.14, my = (a.y + b.y) / 2 + (b.x - a.x) * 0.14;
    svg.push(`<path class="edge${pair.state === now ? " out" : ""}" marker-end="url(#head)" d="M${a.x} ${a.y} Q${mx} ${my} ${b.x} ${b.y}"><title>${escape(`${key}: ${[...new Set(pair.events)].join(", ")}`)}</title></path>`);
  }
  for (const [name, { x, y }] of at) {
    svg.push(`<g class="node${name === now ? " now" : ""}"><rect x="${x - bw / 2}" y="${y - bh / 2}" width="${bw}" height="${bh}" rx="8"/><text x="${x}" y="${y}">${escape(name)}</text></g>`);
  }
  const holder = el("figure", {});
  holder.innerHTML = `<svg viewBox="0 0 ${w} ${h}" role="img" aria-label="${escape(`${title}: ${now}`)}">${svg.join("")}</svg>`;
  holder.append(el("figcaption", {}, `${title}：${now}`));
  return holder;
}

function border(from, to, bw, bh) {
  const dx = to.x - from.x, dy = to.y - from.y;
  const scale = Math.min((bw / 2 + 2) / Math.abs(dx || 1e-9), (bh / 2 + 2) / Math.abs(dy || 1e-9));
  return { x: from.x + dx * scale, y: from.y + dy * scale };
}

function escape(text) {
  return String(text).replace(/[&<>"]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[c]);
}

// ── Frames ───────────────────────────────────────────────────────────────────────────────────────────────────────

function startFrames(code) {
  const body = el("tbody", {});
  const live = el("button", { type: "button", id: "live" }, both("span", ["实时", "live"]));
  const note = el("span", { className: "soft" });
  live.setAttribute("aria-pressed", "true");
  live.onclick = () => (state.tail ? stopTail() : openTail());
  const head = el("thead", {}, el("tr", {}, el("th", {}, "时间 at"), el("th", {}, "向"), el("th", {}, "帧 frame"), el("th", {}, "十六进制 hex")));
  $("actor").querySelector(".tail").replaceChildren(
    el("h3", {}, both("span", ["报文", "frames"]), live, note),
    el("div", { className: "scroll" }, el("table", { className: "frames", id: "frames" }, head, body)));
  state.frames = { body, live, note, code };
  openTail();
}

function openTail() {
  const { body, live, note, code } = state.frames;
  live.setAttribute("aria-pressed", "true");
  state.tail = new Feed(`/debug/piles/${encodeURIComponent(code)}/tail`, {
    onMessage(message) {
      if (message.type === "started") {
        body.replaceChildren();
        note.textContent = message.outcome === "accepted" ? "" : `桩未连接，连上后自动显示 / not connected (${message.outcome})`;
      }
      if (message.lost) body.prepend(el("tr", {}, el("td", { colSpan: 4, className: "soft" }, `丢失 ${message.lost} 帧 / ${message.lost} frames lost`)));
      for (const frame of message.items) body.prepend(frameRow(frame));
      while (body.children.length > ROWS_MAX) body.lastChild.remove();
    },
    onLink(isUp) {
      if (!isUp) note.textContent = "连接断开，重试中 / connection lost, retrying";
    },
  });
}

function stopTail() {
  state.tail?.close();
  state.tail = null;
  state.frames?.live.setAttribute("aria-pressed", "false");
}

function frameRow(frame) {
  const decoded = frame.decoded;
  const name = [decoded.frame_type, decoded.name].filter(Boolean).join(" ") || decoded.error || "?";
  const details = el("details", {}, el("summary", {}, name, frame.damage ? ` · ${frame.damage}` : ""));
  details.ontoggle = () => {
    if (details.open && details.children.length === 1) trying(async () => details.append(await explained(frame.hex)));
  };
  return el("tr", { className: `${frame.direction}${frame.damage ? " damaged" : ""}` }, el("td", { className: "num" }, clock(frame.at)), el("td", { className: "dir" }, frame.direction === "up" ? "↑" : "↓"), el("td", {}, details), el("td", { className: "hex" }, spaced(frame.hex)));
}

function spaced(hex) {
  return hex.replace(/(..)/g, "$1 ").trim();
}

/** What frames say: one as a table of fields, several each as JSON. */
async function explained(hex) {
  const { items, explained: rows } = await ask("/debug/decode", { method: "POST", body: JSON.stringify({ hex }), headers: { "Content-Type": "application/json" } });
  const box = el("div", {});
  for (const { fields, ...rest } of items) {
    if (rest.error) box.append(el("p", { className: "error" }, rest.error));
    const head = [rest.frame_type, rest.name, rest.sequence != null ? `序列 seq ${rest.sequence}` : "", rest.crc_ok ? "校验正确 crc ok" : "校验错误 crc wrong"].filter(Boolean).join(" · ");
    box.append(el("p", { className: "soft" }, head));
    if (!rows.length && Object.keys(fields).length) box.append(el("pre", {}, JSON.stringify(fields, null, 1)));
  }
  if (rows.length) {
    box.append(el("table", { className: "fields" }, el("tbody", {}, ...rows.map((row) => el("tr", {}, el("td", {}, row.zh), el("td", { className: "mono" }, row.name), el("td", { className: "mono" }, typeof row.value === "object" && row.value !== null ? JSON.stringify(row.value) : String(row.value ?? "–")), el("td", { className: "soft" }, row.text))))));
  }
  return box;
}

// ── Decoding by hand, finding, refreshing ────────────────────────────────────────────────────────────────────────

$("decode").onsubmit = (event) => {
  event.preventDefault();
  trying(async () => {
    $("decoded").replaceChildren(await explained(new FormData(event.target).get("hex")));
  });
};

$("find").onsubmit = (event) => {
  event.preventDefault();
  const asked = new FormData(event.target).get("pile").trim();
  if (/^[0-9]{20}$/.test(asked)) choose({ session: asked });
  else if (asked) choose({ pile: asked });
};

$("more").onclick = () => trying(() => showTree({ append: true }));

setInterval(() => {
  if (!document.hidden) trying(async () => {
    await showActor();
    if (!$("more").hidden || $("tree").children.length <= 50) await showTree();
  });
}, REFRESH_MS);

const asked = new URLSearchParams(location.search);
trying(async () => {
  await showTree();
  if (asked.get("session")) choose({ session: asked.get("session") });
  else if (asked.get("pile")) choose({ pile: asked.get("pile") });
  else if (asked.get("path")) choose({ path: asked.get("path") });
});
