"""One calm line about what a fleet did in the last seconds, Chinese first."""

from __future__ import annotations

from typing import Final

from pileward.simulator.profiles import Hazard, Slip
from pileward.simulator.tally import Snapshot

_WORDS: Final[dict[str, str]] = {
    Hazard.PLUG: "插枪",
    Hazard.FAULT: "故障",
    Hazard.POWER_CUT: "断电",
    Hazard.DROP: "断线",
    Hazard.VANISH: "失联",
    Hazard.HANG: "死机",
    Hazard.REBOOT: "重启",
    Hazard.CARD: "刷卡",
    Slip.BIT_FLIP: "误码",
    Slip.WRONG_CRC: "校验错",
    Slip.TRUNCATED: "残帧",
    Slip.GARBAGE: "杂码",
    Slip.HIGH_FIRST: "校验反序",
    Slip.DUPLICATE: "重发",
    Slip.WRONG_SEQUENCE: "序号错",
    Slip.OLD_VERSION: "旧版本",
    Slip.CLOCK_LOST: "时钟丢失",
    "lost": "连接丢失",
    "not_connected": "连接失败",
    "login_refused": "登录被拒",
    "login_unanswered": "登录无应答",
    "heartbeat_unanswered": "心跳无应答",
    "platform_silent": "平台静默",
    "platform_slow": "平台缓慢",
    "not_understood": "未识别",
    "record_confirmed": "账单确认",
    "record_refused": "账单被拒",
    "charge_begun": "开始充电",
    "charge_ended": "结束充电",
    "charge_resumed": "继续充电",
    "card_refused": "刷卡被拒",
}


def summary_line(before: Snapshot, after: Snapshot, piles: int, seconds: float) -> str:
    """Say what happened between two snapshots of a tally, `seconds` apart."""
    up = (after.frames_up - before.frames_up) / seconds
    down = (after.frames_down - before.frames_down) / seconds
    parts = [
        f"在线 online {after.online}/{piles}",
        f"充电 charging {after.charging}",
        f"上行 up {up:.0f}/s",
        f"下行 down {down:.0f}/s",
    ]
    news = after.events - before.events
    parts += [f"{_WORDS.get(name, '')} {name} {count}".lstrip() for name, count in news.most_common()]
    return " · ".join(parts)
