"""What every Python program here shares: its settings, and how it says what came of it."""

import base64
import json
import os
import sys
import traceback

KINESIS = os.environ["STREAMD_KINESIS"]
DYNAMODB = os.environ["STREAMD_DYNAMODB"]
PLAIN = os.environ["STREAMD_PLAIN"]
CA = os.environ["STREAMD_CA"]
STREAM = os.environ["STREAM"]
TABLE = os.environ["TABLE"]
RECORDS = int(os.environ["RECORDS"])
OUT = os.environ["OUT"]

_failed = False


def begin(client, version):
    runtime = "python " + ".".join(str(n) for n in sys.version_info[:3])
    _line({"client": client, "version": version, "runtime": runtime})


def check(name, fn, *args, **kwargs):
    """Calls fn; what it returns is the detail if it is text. Returns what fn returns."""
    global _failed
    try:
        result = fn(*args, **kwargs)
        _line({"check": name, "ok": True, "detail": result if isinstance(result, str) else ""})
        return result
    except Exception as e:
        _failed = True
        traceback.print_exc()
        _line({"check": name, "ok": False, "detail": "%s: %s" % (type(e).__name__, e)})
        return None


def end():
    sys.exit(1 if _failed else 0)


def same(what, got, want):
    if got != want:
        raise AssertionError("%s is %r, want %r" % (what, got, want))


def holds(ok, what):
    if not ok:
        raise AssertionError(what)


def record(out, key, data, **more):
    line = {"key": key, "data": base64.b64encode(data).decode("ascii")}
    line.update(more)
    out.write(json.dumps(line) + "\n")


def _line(value):
    print(json.dumps(value), flush=True)
