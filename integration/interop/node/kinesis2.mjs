// The AWS SDK for JavaScript, version 2.
import assert from "node:assert/strict";
import AWS from "aws-sdk";
import { begin, check, end, env, put, records } from "./report.mjs";

begin("aws-sdk");
const StreamName = env.STREAM;
const over = {
  https: new AWS.Kinesis({ endpoint: env.STREAMD_KINESIS, maxRetries: 0 }),
  http: new AWS.Kinesis({ endpoint: env.STREAMD_PLAIN, maxRetries: 0 }),
};
const k = over.https;

for (const [how, client] of Object.entries(over)) {
  await check(`putRecord, putRecords over ${how}`, async () => {
    const data = Buffer.from([0, 255]);
    const one = await client.putRecord({ StreamName, PartitionKey: how, Data: data }).promise();
    put(how, data, { shard: one.ShardId, seq: one.SequenceNumber });
    const entries = Array.from({ length: records / 2 - 1 }, (_, i) => ({ PartitionKey: `${how} ${i % 5}`, Data: `${i} é` }));
    const out = await client.putRecords({ StreamName, Records: entries }).promise();
    assert.equal(out.FailedRecordCount, 0);
    entries.forEach((e, i) => put(e.PartitionKey, e.Data, { shard: out.Records[i].ShardId, seq: out.Records[i].SequenceNumber }));
    return `${entries.length + 1} records`;
  });
  await check(`listShards, getShardIterator, getRecords over ${how}`, async () => {
    let n = 0;
    const { Shards } = await client.listShards({ StreamName }).promise();
    for (const { ShardId } of Shards) {
      for (const type of [{ ShardIteratorType: "LATEST" }, { ShardIteratorType: "AT_TIMESTAMP", Timestamp: new Date(0) }]) {
        const { ShardIterator } = await client.getShardIterator({ StreamName, ShardId, ...type }).promise();
        const page = await client.getRecords({ ShardIterator, Limit: 10000 }).promise();
        assert.ok(page.Records.every((r) => Buffer.isBuffer(r.Data) && r.ApproximateArrivalTimestamp instanceof Date));
        assert.ok(page.NextShardIterator);
        n += page.Records.length;
      }
    }
    assert.ok(n > 0);
    return `${n} records`;
  });
}

await check("waitFor streamExists, describeStream by pages", async () => {
  const { StreamDescription } = await k.waitFor("streamExists", { StreamName }).promise();
  assert.equal(StreamDescription.StreamStatus, "ACTIVE");
  const pages = [];
  await new Promise((resolve, reject) => {
    k.describeStream({ StreamName, Limit: 1 }).eachPage((err, page) => {
      if (err) {
        reject(err);
      } else if (page) {
        pages.push(page);
      } else {
        resolve();
      }
    });
  });
  assert.equal(pages.length, 2);
});

await check("registerStreamConsumer, describeStreamConsumer, deregisterStreamConsumer", async () => {
  const { StreamDescriptionSummary: s } = await k.describeStreamSummary({ StreamName }).promise();
  const { Consumer } = await k.registerStreamConsumer({ StreamARN: s.StreamARN, ConsumerName: "v2" }).promise();
  const { ConsumerDescription: d } = await k.describeStreamConsumer({ ConsumerARN: Consumer.ConsumerARN }).promise();
  assert.equal(d.ConsumerStatus, "ACTIVE");
  assert.equal(k.subscribeToShard, undefined); // it has no HTTP/2, and leaves this out
  await k.deregisterStreamConsumer({ ConsumerARN: Consumer.ConsumerARN }).promise();
});

await check("errors have their codes", async () => {
  await assert.rejects(k.describeStream({ StreamName: "nowhere" }).promise(), (err) => {
    assert.equal(err.code, "ResourceNotFoundException");
    assert.equal(err.statusCode, 400);
    assert.ok(err.requestId);
    return true;
  });
});

await check("a lease table in DynamoDB, with its checksums", async () => {
  const d = new AWS.DynamoDB({ endpoint: env.STREAMD_DYNAMODB, maxRetries: 0 }); // checks x-amz-crc32 by itself
  const TableName = env.TABLE;
  await d.createTable({
    TableName,
    KeySchema: [{ AttributeName: "id", KeyType: "HASH" }],
    AttributeDefinitions: [{ AttributeName: "id", AttributeType: "S" }],
    ProvisionedThroughput: { ReadCapacityUnits: 1, WriteCapacityUnits: 1 },
  }).promise();
  await d.waitFor("tableExists", { TableName }).promise();
  const doc = new AWS.DynamoDB.DocumentClient({ service: d });
  await doc.put({ TableName, Item: { id: "a", n: 1, list: [null, true] } }).promise();
  await assert.rejects(
    doc.put({ TableName, Item: { id: "a" }, ConditionExpression: "attribute_not_exists(id)" }).promise(),
    (err) => err.code === "ConditionalCheckFailedException",
  );
  const { Item } = await doc.get({ TableName, Key: { id: "a" } }).promise();
  assert.deepEqual(Item, { id: "a", n: 1, list: [null, true] });
  await d.deleteTable({ TableName }).promise();
});
end();
process.exit(); // connections may stay open
