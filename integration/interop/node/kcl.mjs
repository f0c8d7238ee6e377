// The record processor in the description of aws-kcl, under streamctl multilang:
// as it is there, and with a line where its author says that one's own goes.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import * as D from "@aws-sdk/client-dynamodb";
import * as K from "@aws-sdk/client-kinesis";
import { begin, check, end, env, records } from "./report.mjs";

const StreamName = env.STREAM;
const here = dirname(fileURLToPath(import.meta.url)); // beside the packages
const k = new K.KinesisClient({ endpoint: env.STREAMD_PLAIN });
const d = new D.DynamoDBClient({ endpoint: env.STREAMD_PLAIN });
const own = "// Custom record processing logic ...";

// program writes the processor down, and its properties file.
function program(name, change = (text) => text) {
  const require = createRequire(import.meta.url);
  const readme = readFileSync(join(dirname(require.resolve("aws-kcl/package.json")), "README.md"), "utf8");
  const code = readme.match(/```javascript\n([^]*?kcl\(recordProcessor\)\.run\(\);\n)```/);
  assert.ok(code, "the description has no processor");
  const file = join(here, `${name}.cjs`);
  writeFileSync(file, change(code[1]));
  const properties = `${env.OUT}.${name}.properties`;
  writeFileSync(properties, [
    `executableName = node ${file}`, `streamName = ${StreamName}`, `applicationName = ${env.TABLE}-${name}`,
    "initialPositionInStream = TRIM_HORIZON", "processingLanguage = nodejs/0.10", "idleTimeBetweenReadsInMillis = 200", "",
  ].join("\n"));
  return properties;
}

async function leases(name) {
  try {
    const { Items } = await d.send(new D.ScanCommand({ TableName: `${env.TABLE}-${name}`, ConsistentRead: true }));
    return Object.fromEntries(Items.filter((i) => i.checkpoint).map((i) => [i.leaseKey.S, i]));
  } catch (err) {
    assert.equal(err.name, "ResourceNotFoundException");
    return {};
  }
}

const checkpoints = async (name) => Object.fromEntries(Object.entries(await leases(name)).map(([key, i]) => [key, i.checkpoint.S]));

// run has the bridge run until all checkpoints are as wanted, and stops it.
async function run(name, properties, want) {
  const log = `${env.OUT}.${name}.log`;
  const out = openSync(log, "w");
  const args = ["multilang", "--properties", properties, "--endpoint", env.STREAMD_PLAIN];
  const bridge = spawn(process.env.STREAMCTL, args, { env: { ...process.env, SEEN: `${env.OUT}.${name}` }, stdio: ["ignore", "ignore", out] });
  const ended = once(bridge, "exit");
  closeSync(out);
  try {
    const until = Date.now() + 60e3;
    for (;;) {
      const have = await checkpoints(name);
      try {
        assert.deepEqual(have, want);
        break;
      } catch (err) {
        if (bridge.exitCode !== null || Date.now() > until) {
          throw new Error(`${err.message}\n${readFileSync(log, "utf8")}`);
        }
      }
      await sleep(100);
    }
    bridge.kill("SIGTERM");
    assert.deepEqual(await ended, [0, null], readFileSync(log, "utf8"));
  } finally {
    bridge.kill("SIGKILL");
  }
  assert.deepEqual(Object.values(await leases(name)).filter((i) => i.leaseOwner), [], "a lease has an owner after the stop");
  return readFileSync(log, "utf8");
}

const put = [];
const last = {}; // sequence numbers by shard

async function putSome(from, n) {
  for (let i = from; i < from + n; i++) {
    const PartitionKey = `key ${i % 7}`;
    const Data = Buffer.from(`${i} é`);
    const { ShardId, SequenceNumber } = await k.send(new K.PutRecordCommand({ StreamName, PartitionKey, Data }));
    put.push({ key: PartitionKey, seq: SequenceNumber, data: Data.toString() });
    last[ShardId] = SequenceNumber;
  }
}

begin("aws-kcl");
await putSome(0, records);

await check("streamctl multilang runs the processor of the description, and stops at SIGTERM", async () => {
  await run("sample", program("sample"), last);
  return `${records} records in ${Object.keys(last).length} shards`;
});

await check("the stream is resharded: the last checkpoints are stored, that of the ended shard too", async () => {
  const ended = Object.keys(last).sort()[0];
  const { Shards } = await k.send(new K.ListShardsCommand({ StreamName }));
  const { StartingHashKey: from, EndingHashKey: to } = Shards.find((s) => s.ShardId === ended).HashKeyRange;
  const middle = (BigInt(from) + BigInt(to)) / 2n;
  await k.send(new K.SplitShardCommand({ StreamName, ShardToSplit: ended, NewStartingHashKey: String(middle) }));
  await K.waitUntilStreamExists({ client: k, maxWaitTime: 30 }, { StreamName });
  await putSome(records, records);
  last[ended] = "SHARD_END";
  await run("sample", program("sample"), last);
  return `${Object.keys(last).length} shards`;
});

await check("with a line of one's own it is given every record, in the order of each key", async () => {
  const line = "require('fs').appendFileSync(process.env.SEEN, JSON.stringify({ key: partitionKey, seq: sequenceNumber, data }) + '\\n');";
  const log = await run("line", program("line", (text) => {
    assert.equal(text.split(own).length, 2);
    return text.replace(own, () => line);
  }), last);
  const seen = readFileSync(`${env.OUT}.line`, "utf8").trimEnd().split("\n").map((l) => JSON.parse(l));
  const byKey = (list) => list.reduce((keys, r) => keys.set(r.key, [...(keys.get(r.key) ?? []), r]), new Map());
  assert.deepEqual(byKey(seen), byKey(put), log);
  return `${seen.length} records`;
});
end();
