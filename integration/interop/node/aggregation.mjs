// aws-kinesis-agg: puts aggregated records, waits for the end of standard input,
// and takes all that is in the stream apart, ours and its own.
import assert from "node:assert/strict";
import { once } from "node:events";
import * as K from "@aws-sdk/client-kinesis";
import agg from "aws-kinesis-agg";
import { begin, check, end, env, put, records } from "./report.mjs";

begin("aws-kinesis-agg");
const StreamName = env.STREAM;
const k = new K.KinesisClient({ endpoint: env.STREAMD_KINESIS });

await check("records that it aggregates are put", async () => {
  const list = Array.from({ length: records }, (_, i) => ({ partitionKey: `theirs-${i % 5}`, data: Buffer.from(`theirs ${i}`) }));
  let n = 0;
  await new Promise((resolve, reject) => {
    agg.aggregate(
      list,
      ({ partitionKey, data }, done) => {
        n++;
        k.send(new K.PutRecordCommand({ StreamName, PartitionKey: partitionKey, Data: data })).then(() => done(), done);
      },
      resolve,
      reject,
    );
  });
  return `${list.length} records in ${n}`;
});

process.stdin.resume();
await once(process.stdin, "end");

await check("records that it and the producer of this project aggregate are taken apart", async () => {
  const counts = { theirs: 0, ours: 0 };
  let { ShardIterator } = await k.send(
    new K.GetShardIteratorCommand({ StreamName, ShardId: "shardId-000000000000", ShardIteratorType: "TRIM_HORIZON" }),
  );
  for (;;) {
    const page = await k.send(new K.GetRecordsCommand({ ShardIterator }));
    for (const r of page.Records) {
      const record = { partitionKey: r.PartitionKey, sequenceNumber: r.SequenceNumber, data: Buffer.from(r.Data).toString("base64") };
      agg.deaggregateSync(record, true, (err, users) => {
        assert.ifError(err);
        for (const u of users) {
          counts[u.partitionKey.split("-")[0]]++;
          put(u.partitionKey, Buffer.from(u.data, "base64"), { seq: u.sequenceNumber, sub: Number(u.subSequenceNumber) });
        }
      });
    }
    if (page.Records.length === 0 && page.MillisBehindLatest === 0) {
      break;
    }
    ShardIterator = page.NextShardIterator;
  }
  assert.equal(counts.theirs, records);
  assert.ok(counts.ours > 0);
  return `${counts.theirs} of its own, ${counts.ours} of the producer`;
});
end();
