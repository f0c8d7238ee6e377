"""The sample processor of amazon_kclpy, unchanged, under streamctl multilang."""

import os
import re
import signal
import subprocess
import time

import boto3

import report
from report import OUT, PLAIN, RECORDS, STREAM, TABLE, check, holds, same

KCLPY = os.environ["KCLPY"]  # the unpacked source package
SAMPLES = os.path.join(KCLPY, "samples")
LOG = OUT + ".log"


def version():
    with open(os.path.join(KCLPY, "PKG-INFO")) as f:
        return re.search(r"^Version: (.+)$", f.read(), re.M).group(1)


def properties():
    """The sample's file, with the names of this run."""
    with open(os.path.join(SAMPLES, "sample.properties")) as f:
        text = f.read()
    text = re.sub(r"(?m)^streamArn.*$", "", text)
    for key, value in (("streamName", STREAM), ("applicationName", TABLE)):
        text, n = re.subn(r"(?m)^%s *=.*$" % key, "%s = %s" % (key, value), text)
        same("lines of " + key, n, 1)
    name = OUT + ".properties"
    with open(name, "w") as f:
        f.write(text)
    return name


def wait(what, ready, seconds=60):
    end = time.monotonic() + seconds
    while not ready():
        holds(time.monotonic() < end, "%s after %d s:\n%s" % (what, seconds, log()))
        time.sleep(0.1)


def log():
    with open(LOG) as f:
        return f.read()


def put(kinesis):
    last, records = {}, {}
    for i in range(RECORDS):
        key = "key %d" % i
        r = kinesis.put_record(StreamName=STREAM, PartitionKey=key, Data=b"x" * i)
        last[r["ShardId"]] = r["SequenceNumber"]
        records[r["SequenceNumber"]] = (key, i)
    return last, records


def handled():
    """What the sample says of each record; it ends no line."""
    pattern = r"Partition Key: (key \d+), Sequence Number: (\d+), Subsequence Number: 0, Data Size: (\d+)"
    text = re.sub(r'"?\n[^\n]*? line="?', "", log())  # long lines are cut
    return {seq: (key, int(size)) for key, seq, size in re.findall(pattern, text)}


def run():
    kinesis, dynamodb = boto3.client("kinesis", endpoint_url=PLAIN), boto3.client("dynamodb", endpoint_url=PLAIN)
    last, records = put(kinesis)
    same("shards with records", len(last), 2)
    app = os.path.join(SAMPLES, "sample_kclpy_app.py")
    os.chmod(app, 0o755)
    env = dict(os.environ, PYTHONPATH=KCLPY, PATH=SAMPLES + os.pathsep + os.environ["PATH"])
    command = [os.environ["STREAMCTL"], "multilang", "--properties", properties(), "--endpoint", PLAIN]
    with open(LOG, "w") as out:
        bridge = subprocess.Popen(command, env=env, stderr=out)
    try:
        def stored():
            try:
                items = dynamodb.scan(TableName=TABLE)["Items"]
            except dynamodb.exceptions.ResourceNotFoundException:
                return {}
            # The rows of workers and of their leader lie beside the leases.
            return {i["leaseKey"]["S"]: i for i in items if i["leaseKey"]["S"].startswith("shardId-")}

        # The sample checkpoints its first batch, and then every 30 seconds.
        wait("no checkpoint of both shards", lambda: len(stored()) == 2 and all(
            i["checkpoint"]["S"].isdigit() for i in stored().values()))
        bridge.send_signal(signal.SIGTERM)
        same("exit code", bridge.wait(30), 0)
    finally:
        if bridge.poll() is None:
            bridge.kill()
            bridge.wait()

    def records_handled():
        same("records", handled(), records)
        return "%d records in %d shards" % (len(records), len(last))

    def checkpoints():
        leases = stored()
        same("shards", sorted(leases), sorted(last))
        for shard, lease in leases.items():
            # Over a subscription, events without records move it on behind the last one.
            at = lease["checkpoint"]["S"]
            holds(at.isdigit() and int(at) >= int(last[shard]), "checkpoint %s of %s, whose last record is %s" % (at, shard, last[shard]))
        holds(not any("leaseOwner" in i for i in leases.values()), "a lease has an owner after the stop")

    def goodbye():
        for words in ("Shutdown has been requested, checkpointing.", "Lease has been lost"):
            same(words, log().count(words), 2)

    check("every record is handled", records_handled)
    check("the last checkpoints are stored, and the leases released", checkpoints)
    check("shutdownRequested and leaseLost reach each child", goodbye)


report.begin("amazon_kclpy", version())
check("streamctl multilang runs the sample and stops at SIGTERM", run)
report.end()
