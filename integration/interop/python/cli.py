"""The AWS command line, which AWS names: each of its main commands for Kinesis, and
those for a lease table."""

import base64
import json
import os
import subprocess

from report import CA, DYNAMODB, KINESIS, OUT, PLAIN, RECORDS, STREAM, TABLE, begin, check, end, holds, record, same

AWS = os.environ["AWS"].split()
VERSION = subprocess.run(AWS + ["--version"], check=True, capture_output=True, text=True).stdout.split()[0].split("/")[1]
# Version 2 takes text for bytes only if it is told so.
RAW = ["--cli-binary-format", "raw-in-base64-out"] if VERSION.startswith("2") else []

begin("aws-cli", VERSION)


def run(*args, service="kinesis", url=KINESIS):
    command = AWS + [service, *args, "--endpoint-url", url, "--ca-bundle", CA, "--output", "json"] + RAW
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise AssertionError("%s: %s" % (args[0], done.stderr.strip()))
    return json.loads(done.stdout) if done.stdout.strip() else {}


def refused(*args):
    try:
        run(*args)
    except AssertionError as e:
        return str(e)
    raise AssertionError("it was not refused")


def put(url, how):
    with open(OUT, "a") as out:
        r = run("put-record", "--stream-name", STREAM, "--partition-key", how, "--data", "hello ü", url=url)
        record(out, how, "hello ü".encode(), shard=r["ShardId"], seq=r["SequenceNumber"])
        entries = [{"PartitionKey": how, "Data": "%d" % i} for i in range(RECORDS)]
        r = run("put-records", "--stream-name", STREAM, "--records", json.dumps(entries), url=url)
        same("FailedRecordCount", r["FailedRecordCount"], 0)
        for i, a in enumerate(r["Records"]):
            record(out, how, b"%d" % i, shard=a["ShardId"], seq=a["SequenceNumber"])
    return "%d records" % (RECORDS + 1)




def read():
    total = 0
    for s in run("list-shards", "--stream-name", STREAM)["Shards"]:
        it = run("get-shard-iterator", "--stream-name", STREAM, "--shard-id", s["ShardId"], "--shard-iterator-type", "TRIM_HORIZON")["ShardIterator"]
        got = run("get-records", "--shard-iterator", it, "--limit", "10000")["Records"]
        holds(all(isinstance(base64.b64decode(r["Data"]), bytes) for r in got), "data in base64")
        total += len(got)
    same("records", total, 2 * (RECORDS + 1))
    return "%d records" % total


def describe():
    same("status", run("describe-stream", "--stream-name", STREAM)["StreamDescription"]["StreamStatus"], "ACTIVE")
    same("open shards", run("describe-stream-summary", "--stream-name", STREAM)["StreamDescriptionSummary"]["OpenShardCount"], 2)
    holds(STREAM in run("list-streams")["StreamNames"], "listed")
    holds(run("describe-limits")["OpenShardCount"] >= 2, "limits")


def streams():
    name = STREAM + "-cli"
    run("create-stream", "--stream-name", name, "--shard-count", "1")
    run("wait", "stream-exists", "--stream-name", name)
    run("split-shard", "--stream-name", name, "--shard-to-split", "shardId-000000000000", "--new-starting-hash-key", str(2**127))
    run("merge-shards", "--stream-name", name, "--shard-to-merge", "shardId-000000000001", "--adjacent-shard-to-merge", "shardId-000000000002")
    run("update-shard-count", "--stream-name", name, "--target-shard-count", "2", "--scaling-type", "UNIFORM_SCALING")
    run("add-tags-to-stream", "--stream-name", name, "--tags", "team=x")
    same("tags", run("list-tags-for-stream", "--stream-name", name)["Tags"], [{"Key": "team", "Value": "x"}])
    run("increase-stream-retention-period", "--stream-name", name, "--retention-period-hours", "48")
    arn = run("describe-stream-summary", "--stream-name", name)["StreamDescriptionSummary"]["StreamARN"]
    run("register-stream-consumer", "--stream-arn", arn, "--consumer-name", "c")
    same("consumers", len(run("list-stream-consumers", "--stream-arn", arn)["Consumers"]), 1)
    run("delete-stream", "--stream-name", name, "--enforce-consumer-deletion")
    run("wait", "stream-not-exists", "--stream-name", name)


def errors():
    said = refused("describe-stream", "--stream-name", "nowhere")
    holds("(ResourceNotFoundException)" in said and "Stream nowhere under account" in said, said)


def tables():
    def db(*args):
        return run(*args, service="dynamodb", url=DYNAMODB)

    db("create-table", "--table-name", TABLE, "--key-schema", "AttributeName=id,KeyType=HASH", "--attribute-definitions", "AttributeName=id,AttributeType=S", "--billing-mode", "PAY_PER_REQUEST")
    db("wait", "table-exists", "--table-name", TABLE)
    db("put-item", "--table-name", TABLE, "--item", '{"id":{"S":"a"},"n":{"N":"1"}}')
    same("item", db("get-item", "--table-name", TABLE, "--key", '{"id":{"S":"a"}}')["Item"], {"id": {"S": "a"}, "n": {"N": "1"}})
    same("count", db("scan", "--table-name", TABLE)["Count"], 1)
    db("delete-table", "--table-name", TABLE)


check("put-record, put-records over https", lambda: put(KINESIS, "https"))
check("put-record, put-records over http", lambda: put(PLAIN, "http"))
check("list-shards, get-shard-iterator, get-records", read)
check("describe-stream, describe-stream-summary, list-streams, describe-limits", describe)
check("create, wait, split, merge, scale, tag, delete; consumers", streams)
check("errors have their codes and texts", errors)
check("a lease table in DynamoDB", tables)
end()
