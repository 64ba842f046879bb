// gRPC from Node, for grpc_client.py: `node grpc_client.js HTTP-PORT HTTPS-PORT CA-FILE HOST`. NODE_PATH says where the
// npm package @grpc/grpc-js is.
"use strict";
const fs = require("fs");
const grpc = require("@grpc/grpc-js");

const [http, https, authority, host] = process.argv.slice(2);
const GUARD = 60_000;
let failed = 0;

function check(what, held, detail) {
  if (!held) failed += 1;
  console.log(held ? `ok - ${what}` : `not ok - ${what}: ${detail}`);
}

const asIs = (bytes) => bytes;
const deadline = () => ({ deadline: Date.now() + GUARD });

/** Says a message, and the next one when it has heard the answer; then `last`, or the end. */
function converse(client, turns, last) {
  return new Promise((resolve) => {
    const call = client.makeBidiStreamRequest("/test.Echo/Chat", asIs, asIs, new grpc.Metadata(), deadline());
    const heard = [];
    let said = 0;
    const say = () => {
      if (said < turns) call.write(Buffer.from(String(said++)));
      else if (last) call.write(Buffer.from(last));
      else call.end();
    };
    call.on("data", (message) => {
      heard.push(message.toString());
      say();
    });
    call.on("error", () => {}); // the status tells it
    call.on("status", (status) => resolve({ heard, status }));
    say();
  });
}

async function main() {
  const named = { "grpc.default_authority": host };
  const trusted = { "grpc.ssl_target_name_override": host, ...named };
  for (const [how, port, credentials, options] of [
    ["gRPC from Node", http, grpc.credentials.createInsecure(), named],
    ["gRPC from Node in TLS", https, grpc.credentials.createSsl(fs.readFileSync(authority)), trusted],
  ]) {
    const client = new grpc.Client(`127.0.0.1:${port}`, credentials, options);
    const whole = await converse(client, 50);
    const expected = Array.from({ length: 50 }, (_, turn) => `heard ${turn}`);
    check(`${how}: fifty turns, one by one`, String(whole.heard) === String(expected), whole.heard);
    check(`${how}: and an end`, whole.status.code === grpc.status.OK, JSON.stringify(whole.status));
    const { heard, status } = await converse(client, 1, "deny");
    const held = status.code === grpc.status.RESOURCE_EXHAUSTED && status.details === "no more: 100 %";
    check(`${how}: a status after a message`, heard.length === 1 && held, `${heard} ${JSON.stringify(status)}`);
    check(`${how}: its trailers`, String(status.metadata.get("x-last")) === "trailer", status.metadata);
    client.close();
  }
  process.exit(failed ? 1 : 0);
}

main();
