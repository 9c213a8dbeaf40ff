// One charge on the debug page: where it is and how it came there, its money, its ledger entries, its outbox.

import { both, clock, fen, kilowattHours, stamp } from "./words.js";

/** What is shown of one charge; `parts` are the page's own helpers. */
export function sessionView(inside, machine, parts) {
  const { el, badge, fact, fold, figure } = parts;
  const { charge, actor, timers } = inside;
  const row = charge.row;
  const words = (zh, en) => both("span", [zh, en]);
  const facts = [
    ["司机 driver", row.driver_id], ["枪 gun", `${row.pile_code} / ${row.gun_no}`], ["协议流水号 wire number", charge.wire_number], ["计费模型 tariff", charge.billing_model_no],
    ["下单 ordered", stamp(row.requested_at)], ["开始 started", stamp(row.started_at)], ["结束 ended", stamp(row.ended_at)], ["关单 closed", stamp(row.closed_at)],
    ["预付 prepaid", fen(row.prepaid_fen)], ["已付 paid", fen(row.paid_fen)], ["电量 energy", kilowattHours(row.energy_e4_kwh)], ["账单 bill", row.total_fen == null ? null : fen(row.total_fen)],
    ["退款 refund", fen(row.refund_fen)], ["欠款 debt", fen(row.debt_fen)], ["SOC", charge.soc_pct == null ? null : `${charge.soc_pct} %`], ["限额 limit", charge.limit.kind === "full" ? "充满 full" : `${charge.limit.kind} ${charge.limit.value}`],
    ["停止原因 stop", charge.stop_zh ? words(charge.stop_zh, charge.stop_en) : row.stop_reason], ["未启动原因 failure", charge.failure_zh ? words(charge.failure_zh, charge.failure_en) : row.start_failure],
    ["冻结 held", row.is_held ? row.held_reason || "是 yes" : "否 no"], ["等待 waits for", actor?.detail], ["期限 deadline", charge.deadline_at ? `${charge.deadline_kind} ${stamp(charge.deadline_at)}` : null], ["执行者 actor", inside.path ?? "已退出 exited"],
  ];
  const box = el("div", {},
    el("h2", {}, row.serial, " ", badge(inside.state), inside.state === row.state ? "" : ` (${row.state})`, " ", words(row.state_zh, row.state_en)),
    el("dl", { className: "facts" }, ...facts.map(fact)),
    el("div", { className: "machines wide" }, figure(machine, inside.state, "订单 charge")));
  const sections = [
    ["定时器 timers", ["名称 name", "到期 due"], timers.map((timer) => [timer.name, `${timer.due_in_s} s`])],
    ["最近转换 last transitions", ["时间 at", "事件 event", "变化 change"], (actor?.transitions ?? []).toReversed().map((moved) => [clock(moved.at), moved.event, `${moved.from} → ${moved.to}`])],
    ["账单 bill", ["时段 rate", "电量 energy", "电费 electricity", "服务费 service", "合计 total"], (charge.bill?.lines ?? []).map((line) => [`${line.rate_zh} ${line.rate}`, kilowattHours(line.energy_e4_kwh), fen(line.electricity_fen), fen(line.service_fen), fen(line.total_fen)])],
    ["支付 payments", ["单号 number", "进度 step", "金额 amount", "到账 paid", "交易号 transaction", "错误 error"], charge.payments.map((paid) => [paid.out_trade_no, paid.verdict ?? paid.step, fen(paid.fen), stamp(paid.paid_at), paid.transaction_id, paid.error])],
    ["退款 outbox of refunds", ["单号 number", "进度 step", "金额 amount", "原因 cause", "次数 attempts", "下次 next", "完成 arrived", "错误 error"], charge.refunds.map((back) => [back.out_refund_no, back.step, fen(back.fen), back.cause, back.attempts, stamp(back.next_attempt_at), stamp(back.arrived_at), back.error])],
    ["结算 settlements", ["时间 at", "记录 record", "由 by", "账单 bill", "退 refund", "欠 debt", "结果 state", "说明 reason"], charge.settlements.map((done) => [stamp(done.at), done.record_id ?? "–", done.actor || "自动 by itself", done.total_fen == null ? "–" : fen(done.total_fen), fen(done.refund_fen), fen(done.debt_fen), done.state, [done.reason, ...done.warnings].filter(Boolean).join(", ")])],
    ["分录 ledger entries", ["时间 at", "借 debit", "贷 credit", "金额 amount", "键 key"], charge.entries.map((entry) => [stamp(entry.at), entry.debit, entry.credit, fen(entry.fen), entry.key])],
    ["待办 reviews", ["时间 at", "类别 kind", "原因 reason", "处理 resolution"], charge.reviews.map((review) => [stamp(review.opened_at), review.kind, review.reason, review.is_open ? "未处理 open" : review.resolution])],
  ];
  for (const [title, heads, rows] of sections) if (rows.length) box.append(table(el, title, heads, rows));
  if (Object.keys(inside.facts).length) box.append(fold("facts", "车辆数据 what the vehicle said", inside.facts));
  if (actor) box.append(fold("actor", "执行者全部数据 all that its actor says", actor));
  return box;
}

function table(el, title, heads, rows) {
  const head = el("thead", {}, el("tr", {}, ...heads.map((name) => el("th", {}, name))));
  const body = el("tbody", {}, ...rows.map((cells) => el("tr", {}, ...cells.map((cell) => el("td", {}, cell === "" || cell == null ? "–" : String(cell))))));
  return el("div", {}, el("h3", {}, title), el("div", { className: "scroll" }, el("table", {}, head, body)));
}
