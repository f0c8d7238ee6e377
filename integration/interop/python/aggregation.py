"""aws_kinesis_agg: puts aggregated records, waits for the end of standard input, and
takes all that is in the stream apart, ours and its own."""

import importlib.metadata
import sys

import boto3
from aws_kinesis_agg.aggregator import RecordAggregator
from aws_kinesis_agg.deaggregator import iter_deaggregate_records

import base64

from report import CA, KINESIS, OUT, RECORDS, STREAM, begin, check, end, holds, record, same

begin("aws_kinesis_agg", importlib.metadata.version("aws_kinesis_agg"))
k = boto3.client("kinesis", endpoint_url=KINESIS, verify=CA)


def put_all():
    aggregator = RecordAggregator(max_size=2000)
    full = []
    for i in range(RECORDS):
        ready = aggregator.add_user_record("theirs-%d" % (i % 5), b"theirs %d" % i)
        if ready:
            full.append(ready)
    last = aggregator.clear_and_get()
    if last:
        full.append(last)
    for r in full:
        key, hash_key, data = r.get_contents()
        more = {"ExplicitHashKey": hash_key} if hash_key else {}
        k.put_record(StreamName=STREAM, PartitionKey=key, Data=data, **more)
    return "%d records in %d" % (RECORDS, len(full))


def take_apart():
    counts = {"theirs": 0, "ours": 0}
    it = k.get_shard_iterator(StreamName=STREAM, ShardId="shardId-000000000000", ShardIteratorType="TRIM_HORIZON")["ShardIterator"]
    with open(OUT, "w") as out:
        while True:
            page = k.get_records(ShardIterator=it)
            for u in iter_deaggregate_records(page["Records"], data_format="Boto3"):
                key = u["kinesis"]["partitionKey"]
                counts[key.split("-")[0]] += 1
                record(out, key, base64.b64decode(u["kinesis"]["data"]), seq=u["kinesis"]["sequenceNumber"], sub=u["kinesis"].get("subSequenceNumber", 0))
            if not page["Records"] and page["MillisBehindLatest"] == 0:
                break
            it = page["NextShardIterator"]
    same("its own", counts["theirs"], RECORDS)
    holds(counts["ours"] > 0, "some of the producer")
    return "%d of its own, %d of the producer" % (counts["theirs"], counts["ours"])


check("records that it aggregates are put", put_all)
sys.stdin.read()
check("records that it and the producer of this project aggregate are taken apart", take_apart)
end()
