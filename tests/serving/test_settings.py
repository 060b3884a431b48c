import dataclasses
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import dreem_case
from dreem_case.serving.settings import MAX_WAITING, PREFIX, Settings, SettingsError

NAMES = [field.name for field in dataclasses.fields(Settings)]
NUMBERS = [field.name for field in dataclasses.fields(Settings) if field.type in (int, float)]


def read(**values):
    return Settings.from_environment({PREFIX + name.upper(): value for name, value in values.items()})


def test_an_empty_environment_gives_the_defaults():
    assert Settings.from_environment({}) == Settings()


def test_variables_of_others_do_not_count():
    assert Settings.from_environment({"PATH": "/bin", "dreem_case_queue": "x", "DREEM_CASE_DATA": "x"}) == Settings()


def test_the_environment_of_the_process_is_read_when_it_is_asked_for(monkeypatch):
    monkeypatch.setenv("DREEM_CASE_QUEUE", "7")
    assert Settings.from_environment().queue == 7


@pytest.mark.parametrize(
    "ending", ["SERVICE_HOST", "SERVICE_PORT_HTTP", "PORT", "PORT_8000_TCP", "PORT_8000_TCP_ADDR"]
)
def test_what_kubernetes_says_of_a_service_of_this_name_does_not_count(ending):
    assert Settings.from_environment({PREFIX + ending: "tcp://10.0.0.1:8000"}) == Settings()


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("store", "s3://bucket/nights", "s3://bucket/nights"),
        ("store", " data ", "data"),
        ("cache_mb", "20", 20),
        ("s3_anonymous", "TRUE", True),
        ("s3_anonymous", "no", False),
        ("fresh_s", "0", 0.0),
        ("fresh_s", "1.5", 1.5),
        ("queue", "0", 0),
        ("waiting", str(MAX_WAITING), MAX_WAITING),
    ],
)
def test_a_value_is_read_as_what_it_is(name, text, value):
    found = getattr(read(**{name: text}), name)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("text", ["", " ", "many", "-1", "nan", "inf", "1e99", "0x10", "1,000", "9" * 5000, "\udcff"])
@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_outside_its_limits_is_refused(name, text):
    with pytest.raises(SettingsError, match=f"^{PREFIX}{name.upper()}: expected a (whole )?number from .*, found"):
        read(**{name: text})


def test_half_a_request_is_refused():
    with pytest.raises(SettingsError, match="expected a whole number"):
        read(queue="0.5")


def test_a_model_in_a_bucket_is_refused_by_name():
    with pytest.raises(SettingsError, match=r"^DREEM_CASE_MODEL: expected a folder of this machine .* found 's3://lab/m'"):
        read(model="s3://lab/m")


@pytest.mark.parametrize("name", ["store", "model", "cache", "s3_endpoint", "s3_region"])
def test_an_empty_text_is_refused(name):
    with pytest.raises(SettingsError, match=r"expected a value that is not empty, found ' '; unset it"):
        read(**{name: " "})


@pytest.mark.parametrize(
    ("name", "mend"),
    [
        ("STROE", r"did you mean DREEM_CASE_STORE\?"),
        ("CACHE_MBS", "CACHE_MB"),
        ("PORTS", "expected the name of a setting"),
        ("EVENTS_STROE", r"did you mean DREEM_CASE_EVENTS_STORE\?"),
        ("ZZZ", "there are DREEM_CASE_STORE, "),
    ],
)
def test_a_name_that_is_none_is_refused_with_what_may_be_meant(name, mend):
    with pytest.raises(SettingsError, match=mend):
        Settings.from_environment({PREFIX + name: "1"})


def test_what_the_endpoints_of_parts_read_is_no_unknown_name():
    parts = Path(dreem_case.__file__).parent.glob("*/endpoint.py")
    read_by_parts = re.findall(r"DREEM_CASE_\w+_\w+", "".join(path.read_text(encoding="utf-8") for path in parts))
    assert "DREEM_CASE_EVENTS_STORE" in read_by_parts
    assert Settings.from_environment(dict.fromkeys(read_by_parts, "x")) == Settings()


@given(name=st.sampled_from(NAMES), text=st.text())
def test_any_text_is_read_or_refused_in_one_short_line(name, text):
    try:
        read(**{name: text})
    except SettingsError as error:
        assert len(str(error)) < 300
        assert str(error).isprintable()


@pytest.mark.parametrize("text", ["*", "https://app.example.org", "http://localhost:3000, https://a.example.org:8443"])
def test_origins_are_taken_as_a_browser_sends_them(text):
    assert read(cors=text).cors == text


@pytest.mark.parametrize("text", ["", "app.example.org", "https://app.example.org/", "https://a,*", "null", "ftp://a"])
def test_what_no_browser_sends_as_an_origin_is_refused(text):
    with pytest.raises(SettingsError, match=r"DREEM_CASE_CORS: expected .* origins such as"):
        read(cors=text)
