"""The operations of Kinesis, one check for each, as boto3 calls them."""

import datetime
import json
import time

from report import CA, KINESIS, OUT, PLAIN, RECORDS, STREAM, check, holds, record, same

# Known to the client, and outside what streamd serves.
QUEUES = [
    "AcknowledgeDeadLetterQueueRecords", "AcknowledgeQueueRecords", "CreateQueue", "DeleteQueue",
    "DescribeQueue", "ListQueues", "ReceiveDeadLetterQueueRecords", "ReceiveQueueRecords",
    "RestoreDeadLetterQueueRecords", "UpdateDeadLetterQueueRecordsVisibility", "UpdateQueue",
    "UpdateQueueRecordsVisibility",
]


def run(boto3, botocore):
    config = botocore.config.Config(retries={"max_attempts": 0}, read_timeout=20)
    secure = boto3.client("kinesis", endpoint_url=KINESIS, verify=CA, config=config)
    plain = boto3.client("kinesis", endpoint_url=PLAIN, config=config)
    called = set()
    for k in (secure, plain):
        k.meta.events.register("before-call.kinesis.*", lambda model, **_: called.add(model.name))

    def code(fn, **args):
        try:
            fn(**args)
        except botocore.exceptions.ClientError as e:
            return e.response["Error"]["Code"]
        raise AssertionError("%s was not refused" % fn.__name__)

    def wait_active(k, name):
        k.get_waiter("stream_exists").wait(StreamName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 10})

    k = secure
    arn = check("describe_stream_summary", lambda: summary(k))
    for name, client in (("https", secure), ("http", plain)):
        check("put_record, put_records over " + name, lambda: "%d records" % put(client, name))
    check("get_shard_iterator of all types, get_records", lambda: read_all(k))
    check("get_records with a limit of 10000, iterator LATEST", lambda: latest(k))
    check("describe_stream", lambda: describe(k))
    check("list_shards, with filters", lambda: shards(k, arn))
    check("list_streams", lambda: holds(STREAM in k.list_streams()["StreamNames"], "the stream is listed"))
    check("paginators", lambda: paginators(k, arn))
    check("the paginator of list_shards sends the name with each token, which is refused as AWS does", lambda: shards_by_page(k, code))
    check("waiters stream_exists, stream_not_exists", lambda: waiters(k))
    check("add_tags_to_stream, list_tags_for_stream, remove_tags_from_stream", lambda: stream_tags(k))
    check("tag_resource, list_tags_for_resource, untag_resource", lambda: resource_tags(k, arn))
    check("put_resource_policy, get_resource_policy, delete_resource_policy", lambda: policies(k, arn))
    check("increase_stream_retention_period, decrease_stream_retention_period", lambda: retention(k))
    check("enable_enhanced_monitoring, disable_enhanced_monitoring", lambda: monitoring(k))
    check("start_stream_encryption, stop_stream_encryption", lambda: encryption(k))
    check("update_max_record_size", lambda: sizes(k, arn))
    check("register_stream_consumer, describe, list, deregister", lambda: consumers(k, arn))
    check("subscribe_to_shard over https", lambda: subscribe(secure, arn, "one"))
    check("subscribe_to_shard over http", lambda: subscribe(plain, arn, "two"))
    check("create_stream, split_shard, merge_shards, update_shard_count, delete_stream", lambda: reshard(k, wait_active))
    check("update_stream_mode, warm throughput, record distribution", lambda: modes(k, wait_active))
    check("describe_account_settings, update_account_settings", lambda: account(k))
    check("describe_limits", lambda: holds(k.describe_limits()["OpenShardCount"] > 0, "shards are counted"))
    check("create_channel, describe, list, update, delete", lambda: channels(k, wait_active))
    check("errors have their codes and classes", lambda: errors(k, code))
    check("dry runs", lambda: dry_runs(k, code))
    check("operations on queues are refused by name", lambda: queues(k, code))
    check("every operation that the client knows was called", lambda: all_called(k, called))


def summary(k):
    s = k.describe_stream_summary(StreamName=STREAM)["StreamDescriptionSummary"]
    same("status", s["StreamStatus"], "ACTIVE")
    holds("StreamId" not in s, "no StreamId is shown")
    age = datetime.datetime.now(datetime.timezone.utc) - s["StreamCreationTimestamp"]
    holds(abs(age.total_seconds()) < 600, "the time of creation is now: " + str(age))
    return s["StreamARN"]


def put(k, how):
    """Half of RECORDS, by both operations; what was put goes to OUT."""
    n = RECORDS // 2
    with open(OUT, "a") as out:
        one = n // 10
        for i in range(one):
            data = ("%s %d é\x00\xff" % (how, i)).encode("latin-1")
            r = k.put_record(StreamName=STREAM, PartitionKey="%s-%d" % (how, i % 7), Data=data)
            holds(r["SequenceNumber"].isdigit() and r["ShardId"].startswith("shardId-"), "a number and a shard")
            record(out, "%s-%d" % (how, i % 7), data, shard=r["ShardId"], seq=r["SequenceNumber"])
        entries = [{"PartitionKey": "%s-%d" % (how, i % 7), "Data": b"%d" % i} for i in range(one, n)]
        entries[0].update(PartitionKey=how + " elsewhere", ExplicitHashKey=str(2**128 - 1))
        r = k.put_records(StreamName=STREAM, Records=entries)
        same("FailedRecordCount", r["FailedRecordCount"], 0)
        same("records answered", len(r["Records"]), len(entries))
        for e, a in zip(entries, r["Records"]):
            record(out, e["PartitionKey"], e["Data"], shard=a["ShardId"], seq=a["SequenceNumber"])
    return n


def shard_ids(k):
    return [s["ShardId"] for s in k.list_shards(StreamName=STREAM)["Shards"]]


def read(k, iterator, want):
    got = []
    while iterator and len(got) < want:
        r = k.get_records(ShardIterator=iterator, Limit=10)
        got += r["Records"]
        iterator = r.get("NextShardIterator")
        if not r["Records"] and r["MillisBehindLatest"] == 0:
            break
    return got


def read_all(k):
    total = 0
    for shard in shard_ids(k):
        def at(kind, **more):
            return k.get_shard_iterator(StreamName=STREAM, ShardId=shard, ShardIteratorType=kind, **more)["ShardIterator"]

        every = read(k, at("TRIM_HORIZON"), 10**6)
        total += len(every)
        holds(len(every) > 2, "records in each shard")
        for r in every:
            holds(isinstance(r["Data"], bytes) and r["ApproximateArrivalTimestamp"].tzinfo, "bytes and a time")
        first, second = every[0], every[1]
        same("AT_SEQUENCE_NUMBER", read(k, at("AT_SEQUENCE_NUMBER", StartingSequenceNumber=first["SequenceNumber"]), 1)[0]["SequenceNumber"], first["SequenceNumber"])
        same("AFTER_SEQUENCE_NUMBER", read(k, at("AFTER_SEQUENCE_NUMBER", StartingSequenceNumber=first["SequenceNumber"]), 1)[0]["SequenceNumber"], second["SequenceNumber"])
        stamp = every[-1]["ApproximateArrivalTimestamp"]
        holds(read(k, at("AT_TIMESTAMP", Timestamp=stamp), 1)[0]["ApproximateArrivalTimestamp"] >= stamp, "AT_TIMESTAMP")
    same("records read", total, RECORDS // 2 * 2)
    return "%d records" % total


def latest(k):
    for shard in shard_ids(k):
        it = k.get_shard_iterator(StreamName=STREAM, ShardId=shard, ShardIteratorType="LATEST")["ShardIterator"]
        r = k.get_records(ShardIterator=it, Limit=10000)
        same("records", r["Records"], [])
        holds(r["NextShardIterator"] and r["MillisBehindLatest"] == 0, "an iterator to go on with")


def describe(k):
    d = k.describe_stream(StreamName=STREAM, Limit=1)["StreamDescription"]
    same("shards on the page", len(d["Shards"]), 1)
    same("HasMoreShards", d["HasMoreShards"], True)
    same("retention", d["RetentionPeriodHours"], 24)
    rest = k.describe_stream(StreamName=STREAM, ExclusiveStartShardId=d["Shards"][0]["ShardId"])["StreamDescription"]
    same("shards behind", len(rest["Shards"]), 1)


def shards(k, arn):
    same("by name", len(k.list_shards(StreamName=STREAM)["Shards"]), 2)
    same("by ARN", len(k.list_shards(StreamARN=arn)["Shards"]), 2)
    for f in (
        {"Type": "AT_LATEST"}, {"Type": "AT_TRIM_HORIZON"}, {"Type": "FROM_TRIM_HORIZON"},
        {"Type": "AT_TIMESTAMP", "Timestamp": datetime.datetime.now()},
        {"Type": "FROM_TIMESTAMP", "Timestamp": datetime.datetime.now() - datetime.timedelta(minutes=1)},
    ):
        same(f["Type"], len(k.list_shards(StreamName=STREAM, ShardFilter=f)["Shards"]), 2)
    same("AFTER_SHARD_ID", len(k.list_shards(StreamName=STREAM, ShardFilter={"Type": "AFTER_SHARD_ID", "ShardId": "shardId-000000000000"})["Shards"]), 1)


def paginators(k, arn):
    names = []
    for name, args, key, size in (
        ("describe_stream", {"StreamName": STREAM}, "StreamDescription.Shards", 1),
        ("list_shards", {"StreamName": STREAM}, "Shards", 1000),
        ("list_streams", {}, "StreamNames", 1),
        ("list_stream_consumers", {"StreamARN": arn}, "Consumers", 1),
        ("list_channels", {}, "ChannelSummaries", 1),
    ):
        paginate(k, name, args, key, size)
        names.append(name)
    holds({n for n in dir(k) if not n.startswith("_") and can_paginate(k, n)} == set(names) | {"list_queues"}, "these are all")
    return ", ".join(names)


def can_paginate(k, name):
    try:
        return k.can_paginate(name)
    except KeyError:
        return False


def paginate(k, name, args, key, size):
    made = []
    if name == "list_streams":
        made = [STREAM + "-page-%d" % i for i in range(3)]
        for n in made:
            k.create_stream(StreamName=n, ShardCount=1)
    if name == "list_stream_consumers":
        made = [k.register_stream_consumer(StreamARN=arn_of(args), ConsumerName="page-%d" % i)["Consumer"]["ConsumerARN"] for i in range(3)]
    pages = list(k.get_paginator(name).paginate(PaginationConfig={"PageSize": size}, **args))
    items = [i for p in pages for i in lookup(p, key)]
    if name == "list_streams":
        same(name, sorted(items), sorted(made + [STREAM]))
        same("pages", len(pages), 4)
        for n in made:
            k.delete_stream(StreamName=n)
    elif name == "list_stream_consumers":
        same(name, len(items), 3)
        for c in made:
            k.deregister_stream_consumer(ConsumerARN=c)
    elif name == "list_channels":
        same(name, items, [])
    else:
        same(name, len(items), 2)
        same("pages", len(pages), 2 if size == 1 else 1)


def shards_by_page(k, code):
    """A fault of botocore that is known since 2020: boto/botocore#2009."""
    def all_pages(**args):
        return list(k.get_paginator("list_shards").paginate(**args))

    same("the second page", code(all_pages, StreamName=STREAM, PaginationConfig={"PageSize": 1}), "InvalidArgumentException")
    first = k.list_shards(StreamName=STREAM, MaxResults=1)
    second = k.list_shards(NextToken=first["NextToken"])
    same("shards", [s["ShardId"] for s in first["Shards"] + second["Shards"]], ["shardId-000000000000", "shardId-000000000001"])


def arn_of(args):
    return args["StreamARN"]


def lookup(page, path):
    for part in path.split("."):
        page = page[part]
    return page


def waiters(k):
    holds({"stream_exists", "stream_not_exists", "channel_active"} <= set(k.waiter_names), "they are there")
    name = STREAM + "-waits"
    began = time.time()
    k.create_stream(StreamName=name, ShardCount=1)
    k.get_waiter("stream_exists").wait(StreamName=name)
    k.delete_stream(StreamName=name)
    k.get_waiter("stream_not_exists").wait(StreamName=name)
    holds(time.time() - began < 9, "the first poll succeeds")


def stream_tags(k):
    k.add_tags_to_stream(StreamName=STREAM, Tags={"a": "1", "b": "ü", "c:d": ""})
    tags = k.list_tags_for_stream(StreamName=STREAM, Limit=2)
    same("first page", tags["Tags"], [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "ü"}])
    same("HasMoreTags", tags["HasMoreTags"], True)
    tags = k.list_tags_for_stream(StreamName=STREAM, ExclusiveStartTagKey="b")
    same("second page", tags["Tags"], [{"Key": "c:d", "Value": ""}])
    k.remove_tags_from_stream(StreamName=STREAM, TagKeys=["a", "b", "c:d"])
    same("tags left", k.list_tags_for_stream(StreamName=STREAM)["Tags"], [])


def resource_tags(k, arn):
    k.tag_resource(ResourceARN=arn, Tags={"team": "x"})
    same("tags", k.list_tags_for_resource(ResourceARN=arn)["Tags"], [{"Key": "team", "Value": "x"}])
    k.untag_resource(ResourceARN=arn, TagKeys=["team"])
    same("tags left", k.list_tags_for_resource(ResourceARN=arn)["Tags"], [])


def policies(k, arn):
    same("without", json.loads(k.get_resource_policy(ResourceARN=arn)["Policy"]), {})
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": "111122223333"}, "Action": "kinesis:PutRecord", "Resource": arn}]}
    k.put_resource_policy(ResourceARN=arn, Policy=json.dumps(policy))
    same("with", json.loads(k.get_resource_policy(ResourceARN=arn)["Policy"]), policy)
    k.delete_resource_policy(ResourceARN=arn)
    same("after", json.loads(k.get_resource_policy(ResourceARN=arn)["Policy"]), {})


def retention(k):
    def hours():
        return k.describe_stream_summary(StreamName=STREAM)["StreamDescriptionSummary"]["RetentionPeriodHours"]

    k.increase_stream_retention_period(StreamName=STREAM, RetentionPeriodHours=48)
    same("hours", hours(), 48)
    k.decrease_stream_retention_period(StreamName=STREAM, RetentionPeriodHours=24)
    same("hours", hours(), 24)


def monitoring(k):
    r = k.enable_enhanced_monitoring(StreamName=STREAM, ShardLevelMetrics=["IncomingBytes", "OutgoingBytes"])
    same("desired", sorted(r["DesiredShardLevelMetrics"]), ["IncomingBytes", "OutgoingBytes"])
    r = k.disable_enhanced_monitoring(StreamName=STREAM, ShardLevelMetrics=["ALL"])
    same("desired", r["DesiredShardLevelMetrics"], [])


def encryption(k):
    k.start_stream_encryption(StreamName=STREAM, EncryptionType="KMS", KeyId="alias/aws/kinesis")
    d = k.describe_stream_summary(StreamName=STREAM)["StreamDescriptionSummary"]
    same("type", (d["EncryptionType"], d["KeyId"]), ("KMS", "alias/aws/kinesis"))
    k.stop_stream_encryption(StreamName=STREAM, EncryptionType="KMS", KeyId="alias/aws/kinesis")
    same("type", k.describe_stream_summary(StreamName=STREAM)["StreamDescriptionSummary"]["EncryptionType"], "NONE")


def sizes(k, arn):
    k.update_max_record_size(StreamARN=arn, MaxRecordSizeInKiB=10240)
    same("size", k.describe_stream_summary(StreamName=STREAM)["StreamDescriptionSummary"]["MaxRecordSizeInKiB"], 10240)
    k.update_max_record_size(StreamARN=arn, MaxRecordSizeInKiB=1024)


def consumers(k, arn):
    c = k.register_stream_consumer(StreamARN=arn, ConsumerName="reader")["Consumer"]
    holds(c["ConsumerARN"].startswith(arn + "/consumer/reader:"), "its ARN")
    d = k.describe_stream_consumer(StreamARN=arn, ConsumerName="reader")["ConsumerDescription"]
    same("status", d["ConsumerStatus"], "ACTIVE")
    same("ARN", k.describe_stream_consumer(ConsumerARN=c["ConsumerARN"])["ConsumerDescription"]["ConsumerARN"], c["ConsumerARN"])
    same("listed", [x["ConsumerName"] for x in k.list_stream_consumers(StreamARN=arn)["Consumers"]], ["reader"])
    k.deregister_stream_consumer(ConsumerARN=c["ConsumerARN"])
    same("listed", k.list_stream_consumers(StreamARN=arn)["Consumers"], [])


def subscribe(k, arn, name):
    c = k.register_stream_consumer(StreamARN=arn, ConsumerName=name)["Consumer"]["ConsumerARN"]
    shard = shard_ids(k)[0]
    it = k.get_shard_iterator(StreamName=STREAM, ShardId=shard, ShardIteratorType="TRIM_HORIZON")["ShardIterator"]
    want = [(r["SequenceNumber"], r["Data"]) for r in read(k, it, 10**6)]
    r = k.subscribe_to_shard(ConsumerARN=c, ShardId=shard, StartingPosition={"Type": "TRIM_HORIZON"})
    got = []
    try:
        for event in r["EventStream"]:
            e = event["SubscribeToShardEvent"]
            got += [(x["SequenceNumber"], x["Data"]) for x in e["Records"]]
            holds(e["ContinuationSequenceNumber"].isdigit(), "a continuation")
            if len(got) >= len(want):
                break
    finally:
        r["EventStream"].close()
    same("records pushed", got, want)
    k.deregister_stream_consumer(ConsumerARN=c)
    return "%d records" % len(got)


def reshard(k, wait_active):
    name = STREAM + "-reshard"
    k.create_stream(StreamName=name, ShardCount=1)
    wait_active(k, name)
    k.split_shard(StreamName=name, ShardToSplit="shardId-000000000000", NewStartingHashKey=str(2**127))
    wait_active(k, name)
    k.merge_shards(StreamName=name, ShardToMerge="shardId-000000000001", AdjacentShardToMerge="shardId-000000000002")
    wait_active(k, name)
    r = k.update_shard_count(StreamName=name, TargetShardCount=2, ScalingType="UNIFORM_SCALING")
    same("counts", (r["CurrentShardCount"], r["TargetShardCount"]), (1, 2))
    wait_active(k, name)
    all_shards = k.list_shards(StreamName=name)["Shards"]
    opened = [s for s in all_shards if "EndingSequenceNumber" not in s["SequenceNumberRange"]]
    same("open shards", len(opened), 2)
    merged = all_shards[3]
    same("parents", (merged["ParentShardId"], merged["AdjacentParentShardId"]), ("shardId-000000000001", "shardId-000000000002"))
    it = k.get_shard_iterator(StreamName=name, ShardId="shardId-000000000000", ShardIteratorType="TRIM_HORIZON")["ShardIterator"]
    r = k.get_records(ShardIterator=it)
    holds("NextShardIterator" not in r, "the end of a shard")
    same("children", [c["ShardId"] for c in r["ChildShards"]], ["shardId-000000000001", "shardId-000000000002"])
    k.delete_stream(StreamName=name, EnforceConsumerDeletion=True)
    k.get_waiter("stream_not_exists").wait(StreamName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 10})
    return "%d shards in all" % len(all_shards)


def modes(k, wait_active):
    name = STREAM + "-modes"
    k.create_stream(StreamName=name, StreamModeDetails={"StreamMode": "ON_DEMAND"})
    wait_active(k, name)
    s = k.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]
    same("mode and shards", (s["StreamModeDetails"]["StreamMode"], s["OpenShardCount"]), ("ON_DEMAND", 4))
    arn = s["StreamARN"]
    k.update_account_settings(MinimumThroughputBillingCommitment={"Status": "ENABLED"})
    r = k.update_stream_warm_throughput(StreamARN=arn, WarmThroughputMiBps=10)
    same("warm throughput", r["WarmThroughput"]["TargetMiBps"], 10)
    wait_active(k, name)
    k.update_stream_record_distribution_strategy(StreamARN=arn, RecordDistributionStrategy="AUTO")
    k.put_record(StreamARN=arn, Data=b"without a key")
    k.update_stream_record_distribution_strategy(StreamARN=arn, RecordDistributionStrategy="USER_PARTITION_KEY")
    k.update_stream_mode(StreamARN=arn, StreamModeDetails={"StreamMode": "PROVISIONED"})
    wait_active(k, name)
    same("mode", k.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]["StreamModeDetails"]["StreamMode"], "PROVISIONED")
    k.delete_stream(StreamARN=arn)


def account(k):
    r = k.update_account_settings(MinimumThroughputBillingCommitment={"Status": "DISABLED"})
    holds(r["MinimumThroughputBillingCommitment"]["Status"] in ("DISABLED", "ENABLED_UNTIL_EARLIEST_ALLOWED_END"), "a status")
    status = k.describe_account_settings()["MinimumThroughputBillingCommitment"]
    same("status", status["Status"], r["MinimumThroughputBillingCommitment"]["Status"])
    return status["Status"]


def channels(k, wait_active):
    name = STREAM + "-channel"
    k.create_stream(StreamName=name, StreamModeDetails={"StreamMode": "ON_DEMAND"})
    wait_active(k, name)
    arn = k.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]["StreamARN"]
    account_id = arn.split(":")[4]
    c = k.create_channel(
        ChannelName=name,
        ServiceExecutionRoleARN="arn:aws:iam::%s:role/channels" % account_id,
        StreamConfigurationList=[{"StreamARN": arn, "RecordConfiguration": {"RecordFormatType": "STRING"}}],
        S3DestinationConfiguration={"StorageConfiguration": {"BucketARN": "arn:aws:s3:::bucket", "ExpectedBucketOwner": account_id, "CompressionType": "GZIP"}},
    )["ChannelDescription"]["ChannelARN"]
    k.get_waiter("channel_active").wait(ChannelARN=c, WaiterConfig={"Delay": 1, "MaxAttempts": 10})
    d = k.describe_channel(ChannelARN=c)["ChannelDescription"]
    same("name", d["ChannelName"], name)
    same("listed", [x["ChannelARN"] for x in k.list_channels()["ChannelSummaries"]], [c])
    k.update_channel(ChannelARN=c, S3DestinationConfiguration={"DataFreshnessInSeconds": 600})
    same("freshness", k.describe_channel(ChannelARN=c)["ChannelDescription"]["S3DestinationConfiguration"]["DataFreshnessInSeconds"], 600)
    k.delete_channel(ChannelARN=c)
    k.delete_stream(StreamName=name)


def errors(k, code):
    same("no stream", code(k.describe_stream, StreamName="nowhere"), "ResourceNotFoundException")
    try:
        k.put_record(StreamName="nowhere", PartitionKey="k", Data=b"")
    except k.exceptions.ResourceNotFoundException as e:
        same("text", e.response["Error"]["Message"].startswith("Stream nowhere under account "), True)
        holds(e.response["ResponseMetadata"]["RequestId"], "a request id")
    same("exists", code(k.create_stream, StreamName=STREAM, ShardCount=1), "ResourceInUseException")
    same("argument", code(k.get_shard_iterator, StreamName=STREAM, ShardId="shardId-000000000000", ShardIteratorType="AT_TIMESTAMP"), "InvalidArgumentException")
    same("iterator", code(k.get_records, ShardIterator="AAAA"), "InvalidArgumentException")
    same("constraint", code(k.get_shard_iterator, StreamName=STREAM, ShardId="shardId-000000000000", ShardIteratorType="NEVER"), "ValidationException")
    same("token", code(k.list_streams, NextToken="x"), "InvalidArgumentException")


def dry_runs(k, code):
    shard = "shardId-000000000000"
    it = k.get_shard_iterator(StreamName=STREAM, ShardId=shard, ShardIteratorType="LATEST")["ShardIterator"]
    for fn, args in (
        (k.put_record, {"StreamName": STREAM, "PartitionKey": "k", "Data": b"x"}),
        (k.put_records, {"StreamName": STREAM, "Records": [{"PartitionKey": "k", "Data": b"x"}]}),
        (k.get_shard_iterator, {"StreamName": STREAM, "ShardId": shard, "ShardIteratorType": "LATEST"}),
        (k.get_records, {"ShardIterator": it}),
    ):
        same(fn.__name__, code(fn, DryRun=True, **args), "DryRunOperationException")


def queues(k, code):
    arn = "arn:aws:kinesis:us-east-1:000000000000:queue/q"
    for name in QUEUES:
        op = k.meta.service_model.operation_model(name)
        args = {m: sample(op.input_shape.members[m], m, arn) for m in (op.input_shape.required_members if op.input_shape else [])}
        py = botocore_name(k, name)
        same(name, code(getattr(k, py), **args), "UnknownOperationException")
    return "%d operations" % len(QUEUES)


def botocore_name(k, name):
    for py, op in k.meta.method_to_api_mapping.items():
        if op == name:
            return py
    raise KeyError(name)


def sample(shape, name, arn):
    """The least value that the client lets through."""
    if shape.type_name == "list":
        return [sample(shape.member, name, arn)]
    if shape.type_name == "structure":
        return {m: sample(shape.members[m], m, arn) for m in shape.required_members}
    if shape.type_name in ("integer", "long"):
        return 1
    if shape.type_name == "boolean":
        return False
    return arn if name.endswith("ARN") else "x"


def all_called(k, called):
    missing = set(k.meta.service_model.operation_names) - called
    same("operations not called", sorted(missing), [])
    return "%d operations" % len(called)
