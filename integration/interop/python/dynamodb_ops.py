"""The calls to DynamoDB that lease tables need, and those beside them, as boto3 makes them."""

from report import CA, DYNAMODB, TABLE, check, holds, same


def run(boto3, botocore):
    config = botocore.config.Config(retries={"max_attempts": 0}, read_timeout=20)
    d = boto3.client("dynamodb", endpoint_url=DYNAMODB, verify=CA, config=config)
    resource = boto3.resource("dynamodb", endpoint_url=DYNAMODB, verify=CA, config=config)
    check("create_table, waiter table_exists", lambda: create(d))
    check("put_item with a condition", lambda: conditions(d, botocore))
    check("update_item, get_item", lambda: updates(d))
    check("query of a table and of an index", lambda: queries(d))
    check("scan, paginator, segments", lambda: scans(d))
    check("batch_write_item, batch_get_item", lambda: batches(d))
    check("transact_write_items, transact_get_items", lambda: transactions(d, botocore))
    check("resource and batch_writer", lambda: resources(resource))
    check("update_table, describe_table, list_tables", lambda: tables(d))
    check("tag_resource, list_tags_of_resource, untag_resource", lambda: tags(d))
    check("time to live, continuous backups, limits", lambda: settings(d))
    check("delete_table, waiter table_not_exists", lambda: delete(d))


def create(d):
    d.create_table(
        TableName=TABLE,
        KeySchema=[{"AttributeName": "leaseKey", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": n, "AttributeType": "S"} for n in ("leaseKey", "leaseOwner")],
        BillingMode="PAY_PER_REQUEST",
        GlobalSecondaryIndexes=[{
            "IndexName": "LeaseOwnerToLeaseKeyIndex",
            "KeySchema": [{"AttributeName": "leaseOwner", "KeyType": "HASH"}, {"AttributeName": "leaseKey", "KeyType": "RANGE"}],
            "Projection": {"ProjectionType": "KEYS_ONLY"},
        }],
    )
    d.get_waiter("table_exists").wait(TableName=TABLE)


def lease(i, owner="w1", counter=0):
    return {"leaseKey": {"S": "shardId-%012d" % i}, "leaseOwner": {"S": owner}, "leaseCounter": {"N": str(counter)}}


def conditions(d, botocore):
    d.put_item(TableName=TABLE, Item=lease(0), ConditionExpression="attribute_not_exists(leaseKey)")
    try:
        d.put_item(TableName=TABLE, Item=lease(0), ConditionExpression="attribute_not_exists(leaseKey)", ReturnValuesOnConditionCheckFailure="ALL_OLD")
    except d.exceptions.ConditionalCheckFailedException as e:
        same("the item in the way", e.response["Item"], lease(0))
    else:
        raise AssertionError("the second was not refused")
    d.put_item(TableName=TABLE, Item=lease(0, counter=1), Expected={"leaseCounter": {"Value": {"N": "0"}, "Exists": True}})


def updates(d):
    r = d.update_item(
        TableName=TABLE, Key={"leaseKey": {"S": "shardId-%012d" % 0}},
        UpdateExpression="SET checkpoint = :c, leaseCounter = leaseCounter + :one ADD childShardIds :s REMOVE nothing",
        ConditionExpression="leaseOwner = :o",
        ExpressionAttributeValues={":c": {"S": "TRIM_HORIZON"}, ":one": {"N": "1"}, ":o": {"S": "w1"}, ":s": {"SS": ["a", "b"]}},
        ReturnValues="ALL_NEW",
    )["Attributes"]
    same("counter", r["leaseCounter"], {"N": "2"})
    same("children", sorted(r["childShardIds"]["SS"]), ["a", "b"])
    r = d.update_item(
        TableName=TABLE, Key={"leaseKey": {"S": "shardId-%012d" % 0}},
        AttributeUpdates={"leaseCounter": {"Action": "ADD", "Value": {"N": "1"}}, "childShardIds": {"Action": "DELETE"}},
        ReturnValues="UPDATED_NEW",
    )["Attributes"]
    same("updated", r, {"leaseCounter": {"N": "3"}})
    item = d.get_item(TableName=TABLE, Key={"leaseKey": {"S": "shardId-%012d" % 0}}, ConsistentRead=True)["Item"]
    same("item", item, {**lease(0, counter=3), "checkpoint": {"S": "TRIM_HORIZON"}})
    holds("Item" not in d.get_item(TableName=TABLE, Key={"leaseKey": {"S": "none"}}), "no item")


def queries(d):
    for i in range(1, 6):
        d.put_item(TableName=TABLE, Item=lease(i, owner="w%d" % (i % 2)))
    r = d.query(TableName=TABLE, KeyConditionExpression="leaseKey = :k", ExpressionAttributeValues={":k": {"S": "shardId-%012d" % 1}})
    same("count", r["Count"], 1)
    r = d.query(TableName=TABLE, IndexName="LeaseOwnerToLeaseKeyIndex", KeyConditionExpression="leaseOwner = :o", ExpressionAttributeValues={":o": {"S": "w1"}}, ScanIndexForward=False)
    same("keys", [i["leaseKey"]["S"][-1] for i in r["Items"]], ["5", "3", "1", "0"])
    holds(all(set(i) == {"leaseKey", "leaseOwner"} for i in r["Items"]), "keys only")


def scans(d):
    pages = list(d.get_paginator("scan").paginate(TableName=TABLE, PaginationConfig={"PageSize": 2}))
    same("items", sum(p["Count"] for p in pages), 6)
    holds(len(pages) >= 3, "pages")
    halves = [d.scan(TableName=TABLE, Segment=s, TotalSegments=2)["Count"] for s in range(2)]
    same("both segments", sum(halves), 6)
    r = d.scan(TableName=TABLE, FilterExpression="begins_with(leaseOwner, :o) AND leaseCounter > :z", ExpressionAttributeValues={":o": {"S": "w"}, ":z": {"N": "0"}})
    same("found and looked at", (r["Count"], r["ScannedCount"]), (1, 6))


def batches(d):
    r = d.batch_write_item(RequestItems={TABLE: [{"PutRequest": {"Item": lease(i)}} for i in range(10, 35)]})
    same("left over", r["UnprocessedItems"], {})
    r = d.batch_get_item(RequestItems={TABLE: {"Keys": [{"leaseKey": lease(i)["leaseKey"]} for i in range(10, 35)]}})
    same("items", len(r["Responses"][TABLE]), 25)
    d.batch_write_item(RequestItems={TABLE: [{"DeleteRequest": {"Key": {"leaseKey": lease(i)["leaseKey"]}}} for i in range(10, 35)]})


def transactions(d, botocore):
    key = {"leaseKey": lease(0)["leaseKey"]}
    d.transact_write_items(TransactItems=[
        {"Put": {"TableName": TABLE, "Item": lease(50)}},
        {"ConditionCheck": {"TableName": TABLE, "Key": key, "ConditionExpression": "attribute_exists(leaseKey)"}},
    ])
    r = d.transact_get_items(TransactItems=[{"Get": {"TableName": TABLE, "Key": k}} for k in (key, {"leaseKey": {"S": "none"}})])
    same("items", [("Item" in x) for x in r["Responses"]], [True, False])
    try:
        d.transact_write_items(TransactItems=[
            {"Delete": {"TableName": TABLE, "Key": {"leaseKey": lease(50)["leaseKey"]}}},
            {"ConditionCheck": {"TableName": TABLE, "Key": key, "ConditionExpression": "attribute_not_exists(leaseKey)"}},
        ])
    except d.exceptions.TransactionCanceledException as e:
        same("reasons", [x["Code"] for x in e.response["CancellationReasons"]], ["None", "ConditionalCheckFailed"])
    else:
        raise AssertionError("it was not cancelled")


def resources(resource):
    import decimal

    table = resource.Table(TABLE)
    with table.batch_writer() as batch:
        for i in range(60, 90):
            batch.put_item(Item={"leaseKey": "k%d" % i, "n": decimal.Decimal("1.5"), "b": b"\x00\xff", "m": {"l": [1, None, True]}, "s": {"x"}})
    item = table.get_item(Key={"leaseKey": "k60"})["Item"]
    same("number", item["n"], decimal.Decimal("1.5"))
    same("bytes", bytes(item["b"]), b"\x00\xff")
    same("map", item["m"], {"l": [1, None, True]})
    with table.batch_writer() as batch:
        for i in range(60, 90):
            batch.delete_item(Key={"leaseKey": "k%d" % i})


def tables(d):
    t = d.describe_table(TableName=TABLE)["Table"]
    same("status", (t["TableStatus"], t["GlobalSecondaryIndexes"][0]["IndexStatus"]), ("ACTIVE", "ACTIVE"))
    d.update_table(TableName=TABLE, BillingMode="PROVISIONED", ProvisionedThroughput={"ReadCapacityUnits": 5, "WriteCapacityUnits": 5}, GlobalSecondaryIndexUpdates=[
        {"Update": {"IndexName": "LeaseOwnerToLeaseKeyIndex", "ProvisionedThroughput": {"ReadCapacityUnits": 5, "WriteCapacityUnits": 5}}}])
    same("units", d.describe_table(TableName=TABLE)["Table"]["ProvisionedThroughput"]["ReadCapacityUnits"], 5)
    pages = list(d.get_paginator("list_tables").paginate())
    holds(any(TABLE in p["TableNames"] for p in pages), "the table is listed")


def tags(d):
    arn = d.describe_table(TableName=TABLE)["Table"]["TableArn"]
    d.tag_resource(ResourceArn=arn, Tags=[{"Key": "k", "Value": "v"}])
    same("tags", d.list_tags_of_resource(ResourceArn=arn)["Tags"], [{"Key": "k", "Value": "v"}])
    d.untag_resource(ResourceArn=arn, TagKeys=["k"])
    same("tags", d.list_tags_of_resource(ResourceArn=arn)["Tags"], [])


def settings(d):
    d.update_time_to_live(TableName=TABLE, TimeToLiveSpecification={"Enabled": True, "AttributeName": "ttl"})
    same("TTL", d.describe_time_to_live(TableName=TABLE)["TimeToLiveDescription"]["TimeToLiveStatus"], "ENABLED")
    d.update_continuous_backups(TableName=TABLE, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True})
    b = d.describe_continuous_backups(TableName=TABLE)["ContinuousBackupsDescription"]
    same("backups", b["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"], "ENABLED")
    holds(d.describe_limits()["TableMaxReadCapacityUnits"] > 0, "limits")


def delete(d):
    d.delete_table(TableName=TABLE)
    d.get_waiter("table_not_exists").wait(TableName=TABLE)
