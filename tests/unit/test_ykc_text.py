"""Frames as text: `describe`, `pileward decode` and its reverse."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner, Result

from pileward.cli.decode import command
from pileward.codecs.base import FrameError
from pileward.codecs.ykc import text
from pileward.codecs.ykc.envelope import wrap

BEAT = "680D25D30003202312120000100100D1AC"
SAMPLE = "680D000100033201020000000101006890"
SHOWN = {
    "ok": True,
    "frame_type": "0x03",
    "name": "Heartbeat",
    "sequence": 0xD325,
    "crc_ok": True,
    "fields": {"pile_no": "20231212000010", "gun_no": 1, "gun_status": 0},
    "error": None,
}
KEYS = set(SHOWN)


def run(*arguments: str, given: str = "") -> Result:
    return CliRunner().invoke(command, ["--protocol", "ykc", *arguments], input=given)


def objects(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_decode_prints_one_object_a_frame() -> None:
    result = run(BEAT, f"{BEAT[:8]} {BEAT[8:]}")
    assert result.exit_code == 0
    assert objects(result) == [SHOWN, SHOWN]


def test_decode_reads_lines_of_standard_input() -> None:
    result = run(given=f"0x{BEAT.lower()}\n\n{BEAT}{BEAT}\n")
    assert result.exit_code == 0
    assert objects(result) == [SHOWN] * 3


def test_a_body_is_shown_although_its_checksum_is_wrong() -> None:
    result = run(SAMPLE)
    assert result.exit_code == 1
    (shown,) = objects(result)
    assert (shown["ok"], shown["crc_ok"]) == (False, False)
    assert shown["fields"] == {"pile_no": "32010200000001", "gun_no": 1, "gun_status": 0}
    assert "checksum" in shown["error"]


BAD = [
    ("zz", "not hexadecimal"),
    ("68", "no frame"),
    ("00112233445566778899", "no frame"),
    ("680925D300042023121200001001001D0B", "length byte"),
    (wrap(1, 0x39, b"\x01").hex(), "unknown frame type 0x39"),
    (wrap(1, 0x3B, bytes(20)).hex(), "too short"),
    (wrap(1, 0x05, bytes(7)).hex(), "missing: billing_model_no"),
    ("680400000103D1C1", "encrypted"),
]


@pytest.mark.parametrize(("line", "complaint"), BAD, ids=[row[1] for row in BAD])
def test_what_is_no_good_frame_is_said(line: str, complaint: str) -> None:
    (shown,) = text.decode_text(line)
    assert shown["ok"] is False
    assert complaint in shown["error"]
    assert set(shown) == KEYS


def test_frames_among_noise_are_all_shown() -> None:
    shown = text.decode_text(f"0001{BEAT}{SAMPLE}{BEAT}02")
    assert [item["ok"] for item in shown] == [False, True, False, True, False]
    assert shown[1] == shown[3] == SHOWN
    assert shown[2]["frame_type"] == "0x03"


def test_missing_fields_are_null_and_the_rest_is_kept() -> None:
    (short,) = text.describe_all(wrap(1, 0x13, bytes(54)))
    assert short["fields"]["loss_energy_kwh"] == "0.0000"
    assert short["fields"]["hardware_fault"] is None
    (long,) = text.describe_all(wrap(1, 0x12, bytes.fromhex("3201060001923601AABB")))
    assert long["ok"]
    assert long["rest"] == "AABB"
    assert text.encode(long) == wrap(1, 0x12, bytes.fromhex("3201060001923601AABB"))
    (lock,) = text.describe_all(wrap(1, 0x62, bytes.fromhex("3201060001923601FF")))
    assert lock["ok"]
    assert lock["fields"]["reserved"] is None


def test_encode_is_the_reverse() -> None:
    result = run("--encode", json.dumps({**SHOWN, "crc_order": "high_first"}))
    assert result.exit_code == 0
    assert result.stdout.split() == [BEAT]
    result = run("--encode", given=json.dumps(SHOWN))
    assert result.stdout.split() == [f"{BEAT[:-4]}ACD1"]


def test_numbers_may_be_given_as_numbers() -> None:
    fields = '"pile_no": "1", "gun_no": 1, "physical_card_no": "00000000D14B0A54", "balance": 150.1'
    value = f'{{"frame_type": 66, "fields": {{{fields}}}}}'
    result = run("--encode", value)
    (shown,) = text.decode_text(result.stdout.strip())
    assert shown["fields"]["balance"] == "150.10"
    assert shown["sequence"] == 0


UNFIT = [
    ("[]", "not a JSON object"),
    ("{", "cannot encode"),
    ('{"frame_type": "0x39", "fields": {}}', "is not known"),
    ('{"frame_type": "beat", "fields": {}}', "is not a number"),
    ('{"frame_type": "0x03"}', "fields: is not an object"),
    ('{"frame_type": "0x03", "fields": {}}', "pile_no: is missing"),
    ('{"frame_type": "0x09", "fields": {"pile_no": "1", "gun": 1}}', "gun: no such field"),
    ('{"frame_type": "0x09", "fields": {"pile_no": 1}}', "pile_no: 1 is not a text"),
    ('{"frame_type": "0x09", "fields": {"pile_no": "123456789012345"}}', "pile_no = '123456789012345'"),
    ('{"frame_type": "0x09", "sequence": 65536, "fields": {"pile_no": "1"}}', "sequence: 65536"),
    ('{"frame_type": "0x09", "fields": {"pile_no": "1"}, "rest": "A"}', "rest: is not hexadecimal"),
    ('{"frame_type": "0x46", "fields": {"pile_no": "1", "count": 1}}', "cards: is missing"),
    ('{"frame_type": "0x46", "fields": {"pile_no": "1", "cards": [1]}}', "cards: is not a list of objects"),
    ('{"frame_type": "0x46", "fields": {"pile_no": "1", "cards": [{}]}}', "physical_card_no: is missing"),
]


@pytest.mark.parametrize(("line", "complaint"), UNFIT, ids=[row[1] for row in UNFIT])
def test_what_cannot_be_encoded_is_named(line: str, complaint: str) -> None:
    result = run("--encode", given=line)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert complaint in result.stderr


def test_one_bad_line_does_not_stop_the_others() -> None:
    result = run("--encode", given="{}\n" + json.dumps(SHOWN))
    assert result.exit_code == 1
    assert len(result.stdout.split()) == 1
    with pytest.raises(FrameError):
        text.encode({})


def test_explain_gives_names_and_words() -> None:
    rows = text.explain(bytes.fromhex("68201A00000013") + bytes(8))
    assert rows == []
    record = wrap(0, 0x33, bytes(24) + b"\x00\x05")
    last = text.explain(record)[-1]
    assert last == {
        "name": "fail_reason",
        "zh": "失败原因",
        "value": 5,
        "text": "未插枪 / not plugged in; not final",
    }
    cards = text.explain(wrap(0, 0x46, bytes(7) + b"\x01" + bytes(8)))
    assert [row["zh"] for row in cards] == ["桩编号", "清除离线卡的个数", "卡列表"]
    data = text.explain(wrap(0, 0x13, bytes(58) + b"\x01\x00"))
    assert data[-1]["text"] == "emergency_stop"
    assert text.explain(wrap(0, 0x02, bytes(7) + b"\x09"))[-1]["text"] == ""
    assert text.explain(wrap(0, 0x93, bytes(7) + b"\x09"))[-1]["text"] == "未知 (0x09) / unknown (0x09)"
