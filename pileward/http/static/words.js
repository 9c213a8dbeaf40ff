// The words for states and reasons, Chinese and English, and small helpers that turn numbers into text.

export const GUN_STATES = {
  unknown: ["未知", "unknown", "offline"],
  offline: ["离线", "offline", "offline"],
  idle: ["空闲", "idle", "idle"],
  plugged: ["已插枪", "plugged", "occupied"],
  starting: ["启动中", "starting", "charging"],
  charging: ["充电中", "charging", "charging"],
  discharging: ["放电中", "discharging", "charging"],
  suspended: ["已暂停", "suspended", "charging"],
  stopping: ["停止中", "stopping", "charging"],
  finished: ["已结束，请拔枪", "finished, please unplug", "occupied"],
  reserved: ["已预约", "reserved", "occupied"],
  maintenance: ["维护中", "maintenance", "maintenance"],
  fault: ["故障", "fault", "fault"],
};

export const GROUPS = {
  idle: ["空闲", "idle"],
  charging: ["充电中", "charging"],
  occupied: ["占用", "occupied"],
  fault: ["故障", "fault"],
  offline: ["离线", "offline"],
  maintenance: ["维护", "maintenance"],
};

export const PILE_STATES = {
  unknown: ["尚未连接", "not seen yet"],
  registering: ["登录中", "logging in"],
  online: ["在线", "online"],
  offline: ["离线", "offline"],
  quarantined: ["已隔离", "quarantined"],
  maintenance: ["维护中", "maintenance"],
  retired: ["已退役", "retired"],
};

export const REASONS = {
  login: ["已登录", "logged in"],
  started: ["平台启动", "platform started"],
  silence: ["心跳中断", "silent"],
  silent: ["心跳中断", "silent"],
  link_lost: ["连接断开", "connection lost"],
  closed: ["连接关闭", "connection closed"],
  replaced: ["被新连接取代", "replaced by a newer connection"],
  failed: ["出错后重启", "restarted after a failure"],
  restarted: ["出错后重启", "restarted after a failure"],
  quarantined: ["反复出错，已隔离", "quarantined after repeated failures"],
  maintenance: ["进入维护", "taken into maintenance"],
  maintenance_over: ["维护结束", "maintenance over"],
  tariff_ok: ["计费模型一致", "tariff confirmed"],
  tariff_pending: ["计费模型待下发", "tariff not confirmed yet"],
  retired: ["退役", "retired"],
};

export function gunWords(state) {
  return GUN_STATES[state] ?? [state, state, "offline"];
}

/** An element with Chinese text and, beside it, English in its own span. */
export function both(tag, [zh, en], className = "") {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(zh);
  if (en && en !== zh) {
    const span = document.createElement("span");
    span.lang = "en";
    span.textContent = en;
    element.append(" ", span);
  }
  return element;
}

/** The words for an age in seconds. */
export function age(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 90) return [`${s} 秒前`, `${s} s ago`];
  const minutes = Math.round(s / 60);
  if (minutes < 90) return [`${minutes} 分钟前`, `${minutes} min ago`];
  const hours = Math.round(minutes / 60);
  if (hours < 48) return [`${hours} 小时前`, `${hours} h ago`];
  const days = Math.round(hours / 24);
  return [`${days} 天前`, `${days} d ago`];
}

/** The words for a stretch of time in seconds. */
export function span(seconds) {
  const minutes = Math.round(seconds / 60);
  return minutes < 90 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** Watts as kW with one decimal below 100. */
export function kilowatt(watts) {
  const kw = watts / 1000;
  return `${kw.toFixed(Math.abs(kw) < 100 ? 1 : 0)} kW`;
}

/** 1e-4 kWh as kWh with two decimals, cut and not rounded up: energy shown is energy had. */
export function kilowattHours(e4) {
  const hundredths = Math.floor(e4 / 100);
  return `${Math.floor(hundredths / 100)}.${String(hundredths % 100).padStart(2, "0")} kWh`;
}

/** 1e-4 yuan as yuan. */
export function yuan(e4) {
  const fen = Math.floor((e4 + 50) / 100);
  return `¥${Math.floor(fen / 100)}.${String(fen % 100).padStart(2, "0")}`;
}

/** Hour, minute and second of an ISO time, in the zone of the viewer. */
export function clock(iso) {
  return new Date(iso).toLocaleTimeString("zh-CN", { hour12: false });
}
