// The AWS SDK for JavaScript, version 3: HTTP/2 by default, over TLS and without.
import assert from "node:assert/strict";
import * as K from "@aws-sdk/client-kinesis";
import * as D from "@aws-sdk/client-dynamodb";
import { NodeHttpHandler } from "@smithy/node-http-handler";
import { begin, check, end, env, put, records, refused } from "./report.mjs";

begin("@aws-sdk/client-kinesis");
const StreamName = env.STREAM;
const retries = { maxAttempts: 1 };
const over = {
  "https, HTTP/2": new K.KinesisClient({ endpoint: env.STREAMD_KINESIS, ...retries }),
  "http, HTTP/2": new K.KinesisClient({ endpoint: env.STREAMD_PLAIN, ...retries }),
  "https, HTTP/1.1": new K.KinesisClient({ endpoint: env.STREAMD_KINESIS, requestHandler: new NodeHttpHandler(), ...retries }),
};
const k = over["https, HTTP/2"];
const { StreamDescriptionSummary: summary } = await k.send(new K.DescribeStreamSummaryCommand({ StreamName }));

async function shards() {
  const { Shards } = await k.send(new K.ListShardsCommand({ StreamName }));
  return Shards.map((s) => s.ShardId);
}

async function read(client, ShardId, type = {}) {
  const all = [];
  let { ShardIterator } = await client.send(
    new K.GetShardIteratorCommand({ StreamName, ShardId, ShardIteratorType: "TRIM_HORIZON", ...type }),
  );
  while (ShardIterator) {
    const page = await client.send(new K.GetRecordsCommand({ ShardIterator, Limit: 10000 }));
    all.push(...page.Records);
    if (page.Records.length === 0 && page.MillisBehindLatest === 0) {
      break;
    }
    ShardIterator = page.NextShardIterator;
  }
  return all;
}

await check("describeStreamSummary", () => {
  assert.equal(summary.StreamStatus, "ACTIVE");
  assert.equal(summary.StreamId, undefined);
  assert.ok(Math.abs(summary.StreamCreationTimestamp - Date.now()) < 600e3);
});

for (const [how, client] of Object.entries(over)) {
  await check(`putRecord, putRecords over ${how}`, async () => {
    const n = Math.floor(records / 3);
    const one = await client.send(new K.PutRecordCommand({ StreamName, PartitionKey: how, Data: Buffer.from([0, 255, 128]) }));
    put(how, [0, 255, 128], { shard: one.ShardId, seq: one.SequenceNumber });
    const entries = Array.from({ length: n }, (_, i) => ({ PartitionKey: `${how} ${i % 5}`, Data: Buffer.from(`${how} ${i} é`) }));
    const out = await client.send(new K.PutRecordsCommand({ StreamName, Records: entries }));
    assert.equal(out.FailedRecordCount, 0);
    entries.forEach((e, i) => put(e.PartitionKey, e.Data, { shard: out.Records[i].ShardId, seq: out.Records[i].SequenceNumber }));
    return `${n + 1} records`;
  });
  await check(`getShardIterator, getRecords over ${how}`, async () => {
    let n = 0;
    for (const shard of await shards()) {
      const all = await read(client, shard);
      n += all.length;
      assert.ok(all.every((r) => r.Data instanceof Uint8Array && r.ApproximateArrivalTimestamp instanceof Date));
      const at = await read(client, shard, { ShardIteratorType: "AT_TIMESTAMP", Timestamp: all[0].ApproximateArrivalTimestamp });
      assert.equal(at.length, all.length);
      const latest = await read(client, shard, { ShardIteratorType: "LATEST" });
      assert.equal(latest.length, 0);
    }
    return `${n} records`;
  });
}

await check("100 requests at once on one connection", async () => {
  const all = await Promise.all(
    Array.from({ length: 100 }, () => k.send(new K.DescribeStreamSummaryCommand({ StreamName }))),
  );
  assert.ok(all.every((r) => r.StreamDescriptionSummary.StreamName === StreamName));
});

async function subscribe(client, ConsumerName) {
  const { Consumer } = await client.send(new K.RegisterStreamConsumerCommand({ StreamARN: summary.StreamARN, ConsumerName }));
  const [ShardId] = await shards();
  const want = await read(client, ShardId);
  const position = { ConsumerARN: Consumer.ConsumerARN, ShardId, StartingPosition: { Type: "TRIM_HORIZON" } };
  const gone = new AbortController();
  const { EventStream } = await client.send(new K.SubscribeToShardCommand(position), { abortSignal: gone.signal });
  const got = [];
  for await (const { SubscribeToShardEvent: event } of EventStream) {
    assert.match(event.ContinuationSequenceNumber, /^\d+$/);
    got.push(...event.Records);
    if (got.length >= want.length) {
      break;
    }
  }
  gone.abort();
  assert.deepEqual(got.map((r) => r.SequenceNumber), want.map((r) => r.SequenceNumber));
  assert.deepEqual(got.map((r) => Buffer.from(r.Data)), want.map((r) => Buffer.from(r.Data)));
  await client.send(new K.DeregisterStreamConsumerCommand({ ConsumerARN: Consumer.ConsumerARN }));
  return `${got.length} records`;
}

for (const [how, client] of Object.entries(over)) {
  await check(`subscribeToShard over ${how}`, () => subscribe(client, `reader-${Object.keys(over).indexOf(how)}`));
}

await check("a subscription ends in order with its shard", async () => {
  const name = StreamName + "-end";
  await k.send(new K.CreateStreamCommand({ StreamName: name, ShardCount: 1 }));
  await K.waitUntilStreamExists({ client: k, maxWaitTime: 20, minDelay: 1, maxDelay: 2 }, { StreamName: name });
  const { StreamDescriptionSummary: s } = await k.send(new K.DescribeStreamSummaryCommand({ StreamName: name }));
  const { Consumer } = await k.send(new K.RegisterStreamConsumerCommand({ StreamARN: s.StreamARN, ConsumerName: "c" }));
  const { EventStream } = await k.send(
    new K.SubscribeToShardCommand({ ConsumerARN: Consumer.ConsumerARN, ShardId: "shardId-000000000000", StartingPosition: { Type: "LATEST" } }),
  );
  await k.send(new K.SplitShardCommand({ StreamName: name, ShardToSplit: "shardId-000000000000", NewStartingHashKey: String(2n ** 127n) }));
  let children;
  for await (const { SubscribeToShardEvent: event } of EventStream) {
    children = event.ChildShards ?? children;
  }
  assert.deepEqual(children.map((c) => c.ShardId), ["shardId-000000000001", "shardId-000000000002"]);
  await k.send(new K.MergeShardsCommand({ StreamName: name, ShardToMerge: "shardId-000000000001", AdjacentShardToMerge: "shardId-000000000002" }));
  await k.send(new K.UpdateShardCountCommand({ StreamName: name, TargetShardCount: 2, ScalingType: "UNIFORM_SCALING" }));
  await k.send(new K.DeleteStreamCommand({ StreamName: name, EnforceConsumerDeletion: true }));
  await K.waitUntilStreamNotExists({ client: k, maxWaitTime: 20, minDelay: 1, maxDelay: 2 }, { StreamName: name });
});

await check("paginators", async () => {
  const names = [];
  for await (const page of K.paginateListStreams({ client: k, pageSize: 1 }, {})) {
    names.push(...page.StreamNames);
  }
  assert.deepEqual(names, [StreamName]);
  const consumers = [];
  for await (const page of K.paginateListStreamConsumers({ client: k, pageSize: 1 }, { StreamARN: summary.StreamARN })) {
    consumers.push(...page.Consumers);
  }
  assert.deepEqual(consumers, []);
});

await check("errors have their classes", async () => {
  for (const client of Object.values(over)) {
    await assert.rejects(client.send(new K.DescribeStreamCommand({ StreamName: "nowhere" })), (err) => {
      assert.ok(err instanceof K.ResourceNotFoundException);
      assert.match(err.message, /^Stream nowhere under account \d+ not found\.$/);
      assert.ok(err.$metadata.requestId);
      return true;
    });
  }
  await refused(k.send(new K.CreateStreamCommand({ StreamName, ShardCount: 1 })), "ResourceInUseException");
  await refused(k.send(new K.GetRecordsCommand({ ShardIterator: "AAAA" })), "InvalidArgumentException");
});

await check("a lease table in DynamoDB", async () => {
  const d = new D.DynamoDBClient({ endpoint: env.STREAMD_DYNAMODB, ...retries });
  const TableName = env.TABLE;
  await d.send(
    new D.CreateTableCommand({
      TableName,
      KeySchema: [{ AttributeName: "leaseKey", KeyType: "HASH" }],
      AttributeDefinitions: [{ AttributeName: "leaseKey", AttributeType: "S" }],
      BillingMode: "PAY_PER_REQUEST",
    }),
  );
  await D.waitUntilTableExists({ client: d, maxWaitTime: 20, minDelay: 1, maxDelay: 2 }, { TableName });
  const Item = { leaseKey: { S: "a" }, n: { N: "1" }, b: { B: Buffer.from([0, 255]) }, l: { L: [{ NULL: true }, { BOOL: true }] } };
  await d.send(new D.PutItemCommand({ TableName, Item, ConditionExpression: "attribute_not_exists(leaseKey)" }));
  await assert.rejects(
    d.send(new D.PutItemCommand({ TableName, Item, ConditionExpression: "attribute_not_exists(leaseKey)" })),
    (err) => err instanceof D.ConditionalCheckFailedException,
  );
  const { Attributes } = await d.send(
    new D.UpdateItemCommand({
      TableName, Key: { leaseKey: { S: "a" } }, UpdateExpression: "SET n = n + :one",
      ExpressionAttributeValues: { ":one": { N: "1" } }, ReturnValues: "UPDATED_NEW",
    }),
  );
  assert.deepEqual(Attributes, { n: { N: "2" } });
  const { Items } = await d.send(new D.ScanCommand({ TableName }));
  assert.deepEqual(Buffer.from(Items[0].b.B), Buffer.from([0, 255]));
  await d.send(new D.DeleteTableCommand({ TableName }));
});

for (const client of Object.values(over)) {
  client.destroy();
}
end();
