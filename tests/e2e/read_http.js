// Reads requests with Node's parser (llhttp). Each line of the input is bytes in hexadecimal, as a server would hear them
// on one connection; each line of the output is the list of the whole requests in them.
const http = require("http");
const { Duplex } = require("stream");
const lines = require("readline").createInterface({ input: process.stdin });

function read(bytes) {
  return new Promise((resolve) => {
    const seen = [];
    const server = http.createServer({ requireHostHeader: false, maxHeaderSize: 1 << 20, keepAlive: true });
    const take = (request) => {
      const headers = [];
      for (let at = 0; at < request.rawHeaders.length; at += 2) {
        headers.push([request.rawHeaders[at].toLowerCase(), request.rawHeaders[at + 1]]);
      }
      const own = { method: request.method, target: request.url, headers, body: null };
      seen.push(own);
      return own;
    };
    const serve = (request, response) => {
      const own = take(request);
      const pieces = [];
      request.on("data", (piece) => pieces.push(piece));
      request.on("error", () => {});
      request.on("end", () => {
        own.body = Buffer.concat(pieces).toString("latin1");
        response.end();
      });
    };
    server.on("request", serve);
    server.on("checkContinue", serve);
    server.on("checkExpectation", serve);
    // What follows these is no longer HTTP.
    server.on("connect", (request) => (take(request).body = ""));
    server.on("upgrade", (request) => (take(request).body = ""));
    server.on("clientError", () => {});
    const connection = new Duplex({
      read() {},
      write(_piece, _encoding, done) {
        done();
      },
    });
    connection.on("error", () => {});
    server.emit("connection", connection);
    connection.push(bytes);
    connection.push(null);
    // Bodies are handed over in later turns.
    let turns = 50;
    const turn = () => {
      if (turns-- > 0) return setImmediate(turn);
      connection.destroy();
      const end = seen.findIndex((request) => request.body === null);
      resolve(end < 0 ? seen : seen.slice(0, end));
    };
    turn();
  });
}

(async () => {
  for await (const line of lines) {
    console.log(JSON.stringify(await read(Buffer.from(line, "hex"))));
  }
})();
