// What every program for Node.js here shares: its settings, and how it says what
// came of it.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { appendFileSync } from "node:fs";

const require = createRequire(import.meta.url);

export const env = Object.fromEntries(
  ["STREAMD_KINESIS", "STREAMD_DYNAMODB", "STREAMD_PLAIN", "STREAM", "TABLE", "OUT"].map((name) => {
    assert.ok(process.env[name], `set ${name}`);
    return [name, process.env[name]];
  }),
);
export const records = Number(process.env.RECORDS);

let failed = false;

export function begin(client) {
  const { version } = require(`${client}/package.json`);
  line({ client, version, runtime: `node ${process.versions.node}` });
}

export async function check(name, fn) {
  try {
    const detail = await fn();
    line({ check: name, ok: true, detail: typeof detail === "string" ? detail : "" });
  } catch (err) {
    failed = true;
    console.error(err);
    line({ check: name, ok: false, detail: `${err.name}: ${err.message}` });
  }
}

export function end() {
  process.exitCode = failed ? 1 : 0;
}

export function put(key, data, more = {}) {
  appendFileSync(env.OUT, JSON.stringify({ key, data: Buffer.from(data).toString("base64"), ...more }) + "\n");
}

export async function refused(promise, name) {
  await assert.rejects(promise, (err) => {
    assert.equal(err.name ?? err.code, name);
    return true;
  });
}

function line(value) {
  console.log(JSON.stringify(value));
}
