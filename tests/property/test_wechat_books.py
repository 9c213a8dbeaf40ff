"""The emulator's books under any order of payments, refunds, ends and time: they always add up.

The model beside it is a few sums; the emulator's own rules decide what is refused, and a refusal moves
nothing.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from pileward.emulators.wechat import orders, refunds
from pileward.emulators.wechat.books import FEES, MERCHANT, OUTSIDE, REFUNDING, Books
from pileward.emulators.wechat.errors import ApiError
from pileward.emulators.wechat.keys import Identity, openid_of

IDENTITY = Identity("1900000109", "wx8888888888888888", "secret", "k" * 32, "PUB_KEY_ID_1")
START_MS = 1_767_225_600_000


class BooksMachine(RuleBasedStateMachine):
    """Drivers pay, the platform refunds, WeChat Pay ends refunds in any way, time passes."""

    prepaid: Bundle[tuple[str, int]] = Bundle("prepaid")
    paid: Bundle[tuple[str, int]] = Bundle("paid")
    refunded: Bundle[str] = Bundle("refunded")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.books = Books(Path(self.folder.name) / "books.sqlite3")
        self.now_ms = START_MS
        self.count = 0
        self.paid_fen = 0
        self.back_fen: dict[str, int] = {}

    def teardown(self) -> None:
        self.books.close()
        self.folder.cleanup()

    @initialize(fen=st.integers(0, 2_000))
    def fund(self, fen: int) -> None:
        self.books.move(self.now_ms, "pay_in", "start", OUTSIDE, MERCHANT, fen)

    @rule(target=prepaid, fen=st.integers(1, 20_000), driver=st.sampled_from("abc"))
    def order(self, fen: int, driver: str) -> tuple[str, int]:
        self.count += 1
        number = f"P{self.count:08d}"
        body = {
            "appid": IDENTITY.appid,
            "mchid": IDENTITY.mchid,
            "description": "充电",
            "out_trade_no": number,
            "notify_url": "https://charge.example.com/x",
            "amount": {"total": fen},
            "payer": {"openid": openid_of(IDENTITY.appid, driver)},
        }
        with self.books.transaction():
            told = orders.prepay(self.books, IDENTITY, self.now_ms, msgspec.json.encode(body))
        with self.books.transaction():
            again = orders.prepay(self.books, IDENTITY, self.now_ms, msgspec.json.encode(body))
        assert told == again
        return told["prepay_id"], fen

    @rule(target=paid, prepay=consumes(prepaid))
    def pay(self, prepay: tuple[str, int]) -> tuple[str, int]:
        prepay_id, fen = prepay
        try:
            with self.books.transaction():
                order = orders.pay(self.books, IDENTITY, self.now_ms, prepay_id, "")
        except orders.PayError:
            return "P-nothing", fen
        self.paid_fen += fen
        return order.out_trade_no, fen

    @rule(target=refunded, of=paid, fen=st.integers(1, 20_000), is_new=st.booleans())
    def refund(self, of: tuple[str, int], fen: int, is_new: bool) -> str:
        number, total = of
        self.count += is_new
        out_refund_no = f"R{self.count:08d}"
        body = {
            "out_refund_no": out_refund_no,
            "out_trade_no": number,
            "amount": {"refund": fen, "total": total, "currency": "CNY"},
        }
        known = self.books.refund(out_refund_no)
        before = self.books.rows("SELECT * FROM balances ORDER BY account")
        told = self.attempt(body)
        if told is None or known is not None:
            assert self.books.rows("SELECT * FROM balances ORDER BY account") == before
        else:
            self.back_fen[number] = self.back_fen.get(number, 0) + fen
            assert self.back_fen[number] <= total
        return out_refund_no

    @rule(number=refunded, status=st.sampled_from(["SUCCESS", "CLOSED", "ABNORMAL"]))
    def end(self, number: str, status: str) -> None:
        row = self.books.refund(number)
        if row is None or status not in refunds.ENDS.get(row.status, ()):
            return
        with self.books.transaction():
            refunds.end(self.books, IDENTITY, self.now_ms, row, status)
        if status == "CLOSED":
            self.back_fen[row.out_trade_no] -= row.fen

    @rule(seconds=st.sampled_from([1, 59, 60, 7_300, 86_400]))
    def wait(self, seconds: int) -> None:
        self.now_ms += seconds * 1_000
        refunds.finish_due(self.books, IDENTITY, self.now_ms)

    @invariant()
    def money_adds_up(self) -> None:
        books = self.books
        assert books.number("SELECT sum(credited_fen - debited_fen) FROM balances") == 0
        for account in (MERCHANT, FEES, REFUNDING):
            assert books.balance_fen(account) >= 0, account
        drivers = books.number(
            "SELECT sum(debited_fen - credited_fen) FROM balances WHERE account LIKE 'payer:%'"
        )
        returned = books.number("SELECT sum(fen) FROM refunds WHERE status = 'SUCCESS'")
        assert drivers == self.paid_fen - returned
        open_fen = books.number("SELECT sum(fen) FROM refunds WHERE status IN ('PROCESSING', 'ABNORMAL')")
        assert books.balance_fen(REFUNDING) == open_fen
        kept = self.paid_fen - sum(self.back_fen.values())
        assert kept + books.balance_fen(OUTSIDE) * -1 == books.balance_fen(MERCHANT) + books.balance_fen(FEES)

    def attempt(self, body: dict[str, Any]) -> dict[str, Any] | None:
        """Ask for a refund; None when it is refused."""
        try:
            with self.books.transaction():
                return refunds.refund(
                    self.books, self.now_ms, self.now_ms + 30_000, msgspec.json.encode(body)
                )
        except ApiError:
            return None


BooksMachine.TestCase.settings = settings(
    max_examples=30,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],  # each step is flushed to the disk
)
TestBooks = BooksMachine.TestCase
