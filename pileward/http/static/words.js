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
  unknown: ["尚未连接", "never connected"],
  registering: ["登录中", "logging in"],
  online: ["在线", "online"],
  offline: ["离线", "offline"],
  quarantined: ["已隔离", "quarantined"],
  maintenance: ["维护中", "maintenance"],
  retired: ["已退役", "retired"],
};

export const REASONS = {
  started: ["等待连接", "waiting for it to connect"],
  login: ["已登录", "logged in"],
  restarted: ["桩程序出错后已重启", "its actor was restarted after a failure"],
  actor_failed: ["桩程序出错，正在重启", "its actor failed and is restarting"],
  quarantined: ["桩程序反复出错，已隔离", "its actor failed repeatedly and is quarantined"],
  changed: ["资料已修改", "its record was changed"],
  tariff: ["计费模型", "tariff"],
  silent: ["心跳中断", "no heartbeat"],
  replaced: ["被新连接取代", "replaced by a newer connection"],
  peer_closed: ["对方关闭连接", "the pile closed the connection"],
  failed: ["连接程序出错", "the connection's actor failed"],
  damaged_frames: ["连续坏帧，已断开", "closed after damaged frames in a row"],
  too_much_before_login: ["登录前数据过多", "too much before login"],
  no_login: ["未按时登录", "no login in time"],
  login_refused: ["登录被拒绝", "login refused"],
  slow_peer: ["对方不读数据，已断开", "closed: it does not read"],
  network_error: ["网络中断", "network error"],
  retired: ["已退役", "retired"],
  shutdown: ["平台停止", "the platform stops"],
};

export const ALARMS = {
  offline: ["离线", "offline"],
  no_tariff: ["未配置计费模型", "no tariff"],
  tariff_failed: ["计费模型下发失败", "tariff push failed"],
  clock_drift: ["桩时钟偏差", "clock drift"],
  gun_silent: ["单枪无心跳", "silent gun"],
  record_missing: ["缺交易记录", "record missing"],
  record_differs: ["交易记录不一致", "record differs"],
  record_unconfirmed: ["交易记录未确认", "record unconfirmed"],
  login_mismatch: ["登录信息与登记不符", "login differs from the register"],
  quarantined: ["已隔离", "quarantined"],
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

/** Whole fen as yuan. */
export function fen(value) {
  const size = Math.abs(value);
  return `${value < 0 ? "−" : ""}¥${Math.floor(size / 100)}.${String(size % 100).padStart(2, "0")}`;
}

/** Day and time of an ISO time in the zone of the viewer; nothing for none. */
export function stamp(iso) {
  return iso ? new Date(iso).toLocaleString("zh-CN", { hour12: false }) : "";
}

/** Hour, minute and second of an ISO time, in the zone of the viewer. */
export function clock(iso) {
  return new Date(iso).toLocaleTimeString("zh-CN", { hour12: false });
}
