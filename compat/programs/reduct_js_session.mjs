// reduct-js against a server, one check after the other: node reduct_js_session.mjs URL SECURED_URL TOKEN
// prints {"check": null or what went wrong}. The package lies in the working directory.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const require = createRequire(pathToFileURL(process.cwd() + "/"));
const { Client, QuotaType } = require("reduct-js");

const [url, securedUrl, token] = process.argv.slice(2);
const client = new Client(url);
let number = 0;

const collect = async (records) => {
  const found = [];
  for await (const record of records) {
    found.push([record.entry, record.time, (await record.read()).toString(), record.labels]);
  }
  return found;
};

const fails = async (promise) => {
  try {
    await promise;
  } catch (error) {
    return [error.status, error.message];
  }
  throw new Error("it did not fail");
};

const write = async (bucket, entry, ts, content, labels, contentType) =>
  (await bucket.beginWrite(entry, { ts, labels, contentType })).write(content);

const statuses = (errors) => [...errors].map(([ts, error]) => [ts, error.status]);

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const checks = {
  // Client

  async info(bucket) {
    await write(bucket, "x", 2n ** 60n, "abc");
    const info = await client.getInfo();
    assert.equal(info.version, "1.21.0");
    assert.ok(info.latestRecord >= 2n ** 60n);
    assert.ok(info.bucketCount >= 1n);
    assert.equal(info.defaults.bucket.maxBlockRecords, 1024n);
    const mine = (await client.getBucketList()).find((found) => found.name === bucket.getName());
    assert.equal(mine.latestRecord, 2n ** 60n);
    assert.equal(mine.entryCount, 1n);
  },

  async buckets(bucket) {
    const name = bucket.getName();
    const settings = { quotaType: QuotaType.FIFO, quotaSize: 10n ** 12n, maxBlockSize: 10n ** 8n, maxBlockRecords: 10n };
    const other = await client.createBucket(`${name}-2`, settings);
    assert.deepEqual({ ...(await other.getSettings()) }, settings);
    await other.setSettings({ maxBlockRecords: 20n });
    assert.deepEqual({ ...(await other.getSettings()) }, { ...settings, maxBlockRecords: 20n });
    assert.deepEqual(await fails(client.createBucket(name)), [409, `Bucket '${name}' already exists`]);
    assert.equal((await client.getOrCreateBucket(name)).getName(), name);
    assert.deepEqual(await fails(client.getBucket("none")), [404, "Bucket 'none' is not found"]);
    await other.rename(`${name}-3`);
    assert.equal((await other.getInfo()).name, `${name}-3`);
    await other.remove();
    assert.equal((await fails(other.getInfo()))[0], 404);
  },

  async entries(bucket) {
    for (const entry of ["a", "a/b", "c"]) await write(bucket, entry, 1n, "x");
    await bucket.renameEntry("a", "z");
    assert.deepEqual((await bucket.getEntryList()).map((entry) => entry.name), ["c", "z", "z/b"]);
    await bucket.removeEntry("z");
    const [entry] = await bucket.getEntryList();
    assert.deepEqual([entry.name, entry.recordCount, entry.blockCount, entry.oldestRecord], ["c", 1n, 1n, 1n]);
  },

  async tokens() {
    const admin = new Client(securedUrl, { apiToken: token });
    assert.equal((await admin.me()).name, "init-token");
    const permissions = { fullAccess: false, read: ["a"], write: ["b"] };
    await admin.createToken("js-1", permissions);
    const value = await admin.createToken("js-2", { permissions, ttl: 3600, expiresAt: Date.now() + 1e7 });
    const found = await admin.getToken("js-2");
    assert.deepEqual({ ...found.permissions }, permissions);
    assert.equal(found.ttl, 3600);
    assert.ok(Math.abs(found.createdAt - Date.now()) < 60000);
    assert.ok((await admin.getTokenList()).some((item) => item.name === "js-1"));
    const mine = new Client(securedUrl, { apiToken: value });
    assert.equal((await mine.me()).name, "js-2");
    assert.deepEqual(await fails(mine.getTokenList()), [403, "Token 'js-2' doesn't have full access"]);
    const rotated = await admin.rotateToken("js-2");
    assert.deepEqual(await fails(mine.getInfo()), [401, "Invalid token"]);
    assert.equal((await new Client(securedUrl, { apiToken: rotated }).me()).name, "js-2");
    for (const name of ["js-1", "js-2"]) await admin.deleteToken(name);
    assert.equal((await fails(admin.getToken("js-1")))[0], 404);
    assert.equal((await fails(new Client(securedUrl).getInfo()))[0], 401);
  },

  async replications(bucket) {
    const name = bucket.getName();
    const settings = { srcBucket: name, dstBucket: "there", dstHost: "http://127.0.0.1:1", entries: ["a"], when: { "&n": { $gt: 1 } } };
    await client.createReplication(name, settings);
    const found = await client.getReplication(name);
    assert.equal(JSON.stringify([found.settings.entries, found.settings.when]), JSON.stringify([["a"], settings.when]));
    await client.setReplicationMode(name, "paused");
    await client.updateReplication(name, { ...settings, entries: ["b"] });
    const mine = (await client.getReplicationList()).find((item) => item.name === name);
    assert.equal(mine.pendingRecords, 0n);
    await client.deleteReplication(name);
    assert.equal((await fails(client.getReplication(name)))[0], 404);
  },

  async lifecycles(bucket) {
    const name = bucket.getName();
    await client.createLifecycle(name, { lifecycleType: "delete", bucket: name, entries: [], olderThan: "30d" });
    assert.equal((await client.getLifecycle(name)).settings.olderThan, "30d");
    await client.setLifecycleMode(name, "dry_run");
    await client.updateLifecycle(name, { lifecycleType: "delete", bucket: name, entries: [], olderThan: "40d", interval: "1h" });
    assert.ok((await client.getLifecycleList()).some((item) => item.name === name));
    await client.deleteLifecycle(name);
  },

  // Records

  async records(bucket) {
    const labels = { text: "a,b", n: 5, yes: true, big: 2n ** 60n };
    await write(bucket, "x", 1n, "some blob", labels, "text/plain");
    let record = await bucket.beginRead("x", 1n);
    assert.deepEqual([record.time, record.size, record.contentType], [1n, 9n, "text/plain"]);
    assert.deepEqual(record.labels, { text: "a,b", n: "5", yes: "true", big: (2n ** 60n).toString() });
    assert.equal(await record.readAsString(), "some blob");
    record = await bucket.beginRead("x", 1n, true);
    assert.deepEqual([record.size, (await record.read()).length], [9n, 0]);
    assert.deepEqual(await fails(write(bucket, "x", 1n, "x")), [409, "A record with timestamp 1 already exists"]);
    await bucket.update("x", 1n, { text: "", n: 6 });
    assert.equal((await bucket.beginRead("x")).labels.n, "6");
    await bucket.removeRecord("x", 1n);
    assert.deepEqual(await fails(bucket.beginRead("x", 1n)), [404, `Record 1 not found in entry ${bucket.getName()}/x`]);
  },

  async streams(bucket) {
    const pieces = (count) => {
      let sent = 0;
      return new ReadableStream({
        pull(controller) {
          if (sent === count) controller.close();
          else controller.enqueue(new Uint8Array(100000).fill(sent++));
        },
      });
    };
    const record = await bucket.beginWrite("x", { ts: 1n });
    await record.write(pieces(50), 5000000n);
    const found = await (await bucket.beginRead("x", 1n)).read();
    assert.equal(found.length, 5000000);
    for (let i = 0; i < 50; i++) assert.equal(found[i * 100000 + 99999], i);
    const wrong = await bucket.beginWrite("x", { ts: 2n });
    assert.equal((await fails(wrong.write(pieces(2), 100n)))[0], 400);
    assert.equal((await fails(bucket.beginRead("x", 2n)))[0], 404);
  },

  async batches(bucket) {
    await write(bucket, "x", 2000n, "old");
    const batch = await bucket.beginWriteBatch("x");
    batch.add(1000n, "one", "text/plain", { a: "1,2" });
    batch.add(3000n, "three");
    batch.add(2000n, "two");
    assert.deepEqual(statuses(await batch.write()), [[2000n, 409]]);
    assert.deepEqual(await collect(bucket.query("x")), [
      ["x", 1000n, "one", { a: "1,2" }],
      ["x", 2000n, "old", {}],
      ["x", 3000n, "three", {}],
    ]);
    const update = await bucket.beginUpdateBatch("x");
    update.addOnlyLabels(1000n, { a: "", b: "2" });
    update.addOnlyLabels(9000n, { a: "1" });
    assert.deepEqual(statuses(await update.write()), [[9000n, 404]]);
    const remove = await bucket.beginRemoveBatch("x");
    remove.addOnlyTimestamp(2000n);
    remove.addOnlyTimestamp(8000n);
    assert.deepEqual(statuses(await remove.write()), [[8000n, 404]]);
    assert.deepEqual((await collect(bucket.query("x"))).map((item) => item[3]), [{ b: "2" }, {}]);
  },

  async record_batches(bucket) {
    const batch = bucket.beginWriteRecordBatch();
    for (let i = 0; i < 10; i++) batch.add(`s/${i % 3}`, BigInt(1000 + i), `content ${i}`, `x/${i % 2}`, { n: i });
    batch.add("bad name", 1000n, "lost");
    let errors = await batch.send();
    assert.deepEqual([...errors].map(([entry, found]) => [entry, statuses(found)]), [["bad name", [[1000n, 422]]]]);
    const update = bucket.beginUpdateRecordBatch();
    update.addOnlyLabels("s/0", 1000n, { n: "", m: 1 });
    update.addOnlyLabels("s/1", 1000n, { n: 1 });
    errors = await update.send();
    assert.deepEqual([...errors].map(([entry, found]) => [entry, statuses(found)]), [["s/1", [[1000n, 404]]]]);
    const remove = bucket.beginRemoveRecordBatch();
    remove.addOnlyTimestamp("s/1", 1001n);
    remove.addOnlyTimestamp("s/2", 1001n);
    errors = await remove.send();
    assert.deepEqual([...errors].map(([entry, found]) => [entry, statuses(found)]), [["s/2", [[1001n, 404]]]]);
    const found = await collect(bucket.query(["s/0", "s/1"], undefined, 1004n));
    assert.deepEqual(found, [
      ["s/0", 1000n, "content 0", { m: "1" }],
      ["s/0", 1003n, "content 3", { n: "3" }],
    ]);
  },

  // Queries

  async queries(bucket) {
    const batch = await bucket.beginWriteBatch("x");
    for (let i = 1; i <= 200; i++) batch.add(BigInt(i * 10), `${i}`, undefined, { n: i });
    await batch.write();
    const numbers = async (...query) => (await collect(bucket.query("x", ...query))).map((item) => Number(item[2]));
    assert.deepEqual(await numbers(), Array.from({ length: 200 }, (_, i) => i + 1));
    assert.deepEqual(await numbers(20n, 50n), [2, 3, 4]);
    assert.deepEqual(await numbers(undefined, undefined, { when: { "&n": { $gt: 198 } } }), [199, 200]);
    assert.deepEqual(await numbers(undefined, undefined, { when: { $limit: 2 }, ttl: 5 }), [1, 2]);
    const strict = { when: { "&none": { $eq: 1 } }, strict: true };
    assert.deepEqual(await fails(numbers(undefined, undefined, strict)), [404, "Reference 'none' not found"]);
    const heads = [];
    for await (const record of bucket.query("x", 10n, 40n, { head: true })) heads.push([record.time, record.size]);
    assert.deepEqual(heads, [[10n, 1n], [20n, 1n], [30n, 1n]]);
    const removed = await bucket.removeQuery("x", 20n, undefined, { when: { "&n": { $lt: 100 } } });
    assert.equal(Number(removed), 98);
  },

  async interleaved_entries(bucket) {
    const expected = [];
    const batch = bucket.beginWriteRecordBatch();
    for (let i = 1; i < 400; i++) {
      const entry = ["a", "b", "c/d"][(i * i + (i >> 2)) % 3];
      const content = `${entry}@${i};`.repeat(1 + (i % 7));
      const labels = Object.fromEntries(["p", "q", "r"].filter((_, k) => (i >> k) & 1).map((name) => [name, `${i % 3}`]));
      batch.add(entry, BigInt(i), content, i % 5 ? "x/1" : "x/2", labels);
      expected.push([entry, BigInt(i), content, labels]);
    }
    assert.equal((await batch.send()).size, 0);
    assert.deepEqual(await collect(bucket.query("*")), expected);
  },

  async long_labels(bucket) {
    // more headers than 16 KiB, which is what fetch takes, if the server did not cut its batches
    const batch = await bucket.beginWriteBatch("x");
    for (let i = 1; i <= 100; i++) batch.add(BigInt(i), "x", undefined, { [`label-${i}`]: "v".repeat(1000) });
    await batch.write();
    assert.equal((await collect(bucket.query("x"))).length, 100);
  },

  async large_records(bucket) {
    for (let i = 1; i <= 3; i++) await write(bucket, "x", BigInt(i), Buffer.alloc(9000000, i));
    const sizes = [];
    for await (const record of bucket.query("x")) {
      const content = await record.read();
      assert.equal(content[content.length - 1], Number(record.time));
      sizes.push(content.length);
    }
    assert.deepEqual(sizes, [9000000, 9000000, 9000000]);
  },

  async continuous(bucket) {
    await write(bucket, "x", 1n, "1");
    const got = [];
    const listening = (async () => {
      for await (const record of bucket.query("x", undefined, undefined, { continuous: true, pollInterval: 1, ttl: 10 })) {
        got.push((await record.read()).toString());
        if (record.time === 3n) return;
      }
    })();
    await sleep(300);
    await write(bucket, "x", 2n, "2");
    await sleep(300);
    await write(bucket, "x", 3n, "3");
    await listening;
    assert.deepEqual(got, ["1", "2", "3"]);
  },

  async attachments(bucket) {
    await write(bucket, "x", 1n, "");
    const attachments = { meta: { a: 1 }, 1: { b: [1, 2] }, "2.5": { c: null }, $system: { d: "ü" } };
    await bucket.writeAttachments("x", attachments);
    assert.deepEqual(await bucket.readAttachments("x"), attachments);
    await bucket.removeAttachments("x", ["2.5", "$system"]);
    assert.deepEqual(await bucket.readAttachments("x"), { meta: { a: 1 }, 1: { b: [1, 2] } });
    await bucket.removeAttachments("x");
    assert.deepEqual(await bucket.readAttachments("x"), {});
  },

  async links(bucket) {
    await write(bucket, "x", 5n, "content", { k: "v" }, "text/plain");
    const link = await bucket.createQueryLink("x", undefined, undefined, undefined, { entry: "x", timestamp: 5n });
    const answer = await fetch(link);
    assert.deepEqual([answer.status, await answer.text()], [200, "content"]);
    assert.equal(answer.headers.get("content-type"), "text/plain");
    assert.equal((await fetch(link, { headers: { range: "bytes=0-2" } })).status, 206);
    const past = await bucket.createQueryLink("x", undefined, undefined, undefined, { entry: "x", timestamp: 5n }, new Date(1));
    assert.equal((await fetch(past)).status, 422);
  },
};

const results = {};
for (const [name, check] of Object.entries(checks)) {
  try {
    await check(await client.createBucket(`js-${process.pid}-${number++}`));
    results[name] = null;
  } catch (error) {
    results[name] = String(error.stack ?? `${error.status} ${error.message}`);
  }
}
console.log(JSON.stringify(results));
process.exit(0);
