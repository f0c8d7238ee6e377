"""boto 2: the operations that programs of its time call, and the shapes of their
answers as its documentation shows them. It names the whole URL in its requests."""

from urllib.parse import urlparse

import boto
import boto.kinesis.layer1
import boto.dynamodb2.layer1
from boto.kinesis.exceptions import ResourceInUseException, ResourceNotFoundException
from boto.regioninfo import RegionInfo

from report import CA, DYNAMODB, KINESIS, OUT, PLAIN, RECORDS, STREAM, TABLE, begin, check, end, holds, record, same

begin("boto", boto.__version__)


def connect(layer, service, url):
    u = urlparse(url)
    # It takes no address that a certificate names, only names.
    region = RegionInfo(name="us-east-1", endpoint="localhost")
    secure = u.scheme == "https"
    c = layer(region=region, host="localhost", port=u.port, is_secure=secure, validate_certs=secure)
    # Otherwise it reads the region and the service out of the name of the host.
    c.auth_region_name = "us-east-1"
    c.auth_service_name = service
    return c


def kinesis(url):
    return connect(boto.kinesis.layer1.KinesisConnection, "kinesis", url)


def by_proxy(url):
    """The server named as a proxy: requests then have the whole URL in their first line."""
    u = urlparse(url)
    region = RegionInfo(name="us-east-1", endpoint="kinesis.us-east-1.amazonaws.com")
    k = boto.kinesis.layer1.KinesisConnection(region=region, is_secure=False, proxy=u.hostname, proxy_port=u.port)
    describe(k)
    one = k.put_record(STREAM, "by proxy", "proxy")
    with open(OUT, "a") as out:
        record(out, "proxy", b"by proxy", shard=one["ShardId"], seq=one["SequenceNumber"])


def put(k, how):
    n = RECORDS // 2
    with open(OUT, "a") as out:
        for i in range(n // 2):
            data = "%s %d" % (how, i)
            r = k.put_record(STREAM, data, "%s-%d" % (how, i % 3))
            same("members", sorted(r), ["SequenceNumber", "ShardId"])
            record(out, "%s-%d" % (how, i % 3), data.encode(), shard=r["ShardId"], seq=r["SequenceNumber"])
        entries = [{"Data": "more %d" % i, "PartitionKey": "%s-%d" % (how, i % 3)} for i in range(n - n // 2)]
        r = k.put_records([dict(e) for e in entries], STREAM)
        same("FailedRecordCount", r["FailedRecordCount"], 0)
        for e in entries:
            record(out, e["PartitionKey"], e["Data"].encode())
    return "%d records" % n


def describe(k):
    r = k.describe_stream(STREAM)
    d = r["StreamDescription"]
    same("status", d["StreamStatus"], "ACTIVE")
    same("HasMoreShards", d["HasMoreShards"], False)
    for s in d["Shards"]:
        holds(s["HashKeyRange"]["StartingHashKey"].isdigit() and s["SequenceNumberRange"]["StartingSequenceNumber"].isdigit(), "ranges")
    holds(STREAM in k.list_streams()["StreamNames"], "listed")


def read(k):
    total = 0
    for s in k.describe_stream(STREAM)["StreamDescription"]["Shards"]:
        latest = k.get_shard_iterator(STREAM, s["ShardId"], "LATEST")
        same("members", sorted(latest), ["ShardIterator"])
        r = k.get_records(latest["ShardIterator"], 10000, True)
        same("members", sorted(r), ["MillisBehindLatest", "NextShardIterator", "Records"])
        same("records", r["Records"], [])
        first = k.get_shard_iterator(STREAM, s["ShardId"], "TRIM_HORIZON")["ShardIterator"]
        r = k.get_records(first, 10000, True)
        for x in r["Records"]:
            same("members", sorted(x), ["ApproximateArrivalTimestamp", "Data", "PartitionKey", "SequenceNumber"])
            holds(isinstance(x["ApproximateArrivalTimestamp"], (int, float)), "a number of seconds")
        holds(any(x["Data"].startswith((b"http", b"more") if isinstance(x["Data"], bytes) else ("http", "more")) for x in r["Records"]), "data decoded")
        total += len(r["Records"])
    same("records", total, RECORDS // 2 * 2 + 1)
    return "%d records" % total


def streams(k):
    name = STREAM + "-boto2"
    k.create_stream(name, 1)
    k.split_shard(name, "shardId-000000000000", str(2**127))
    k.merge_shards(name, "shardId-000000000001", "shardId-000000000002")
    same("shards", len(k.describe_stream(name)["StreamDescription"]["Shards"]), 4)
    k.add_tags_to_stream(name, {"a": "b"})
    same("tags", k.list_tags_for_stream(name)["Tags"], [{"Key": "a", "Value": "b"}])
    k.remove_tags_from_stream(name, ["a"])
    try:
        k.create_stream(name, 1)
    except ResourceInUseException as e:
        holds("already exists" in str(e), "text")
    else:
        raise AssertionError("the second was not refused")
    k.delete_stream(name)
    try:
        k.describe_stream(name)
    except ResourceNotFoundException as e:
        same("code", e.body["__type"], "ResourceNotFoundException")
    else:
        raise AssertionError("it is still there")


def tables():
    d = connect(boto.dynamodb2.layer1.DynamoDBConnection, "dynamodb", DYNAMODB)
    d.create_table(
        [{"AttributeName": "id", "AttributeType": "S"}], TABLE, [{"AttributeName": "id", "KeyType": "HASH"}],
        {"ReadCapacityUnits": 1, "WriteCapacityUnits": 1},
    )
    d.put_item(TABLE, {"id": {"S": "a"}, "n": {"N": "1"}}, expected={"id": {"Exists": False}})
    same("item", d.get_item(TABLE, {"id": {"S": "a"}}, consistent_read=True)["Item"], {"id": {"S": "a"}, "n": {"N": "1"}})
    same("count", d.scan(TABLE)["Count"], 1)
    d.delete_table(TABLE)


boto.config.has_section("Boto") or boto.config.add_section("Boto")
boto.config.set("Boto", "ca_certificates_file", CA)
secure, plain = kinesis(KINESIS), kinesis(PLAIN)
check("describe_stream, list_streams", lambda: describe(secure))
check("put_record, put_records over https", lambda: put(secure, "https"))
check("put_record, put_records over http", lambda: put(plain, "http"))
check("requests with the whole URL, as through a proxy", lambda: by_proxy(PLAIN))
check("get_shard_iterator LATEST, get_records(iterator, 10000, True)", lambda: read(secure))
check("create, split, merge, tag and delete a stream", lambda: streams(plain))
check("a lease table in DynamoDB", tables)
end()
