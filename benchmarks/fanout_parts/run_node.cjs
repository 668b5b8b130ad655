// The `ws` package of Node.js: a loop over the clients that sends each candle to all.
//
//     node run_node.cjs FOLDER deflate|none       (NODE_PATH names where `ws` is)
"use strict";
const fs = require("fs");
const path = require("path");
const readline = require("readline");
const { WebSocketServer } = require("ws");

function readTexts(file) {
  const content = fs.readFileSync(file);
  const count = content.readUInt32LE(0);
  const many = content.readUInt32LE(4);
  const rounds = [];
  let at = 8;
  for (let i = 0; i < count; i++) {
    const texts = [];
    for (let j = 0; j < many; j++) {
      const length = content.readUInt32LE(at);
      texts.push(content.toString("utf8", at + 4, at + 4 + length));
      at += 4 + length;
    }
    rounds.push(texts);
  }
  return rounds;
}

const [folder, compression] = process.argv.slice(2);
const rounds = readTexts(path.join(folder, "texts.bin"));
const server = new WebSocketServer({
  host: "127.0.0.1",
  port: 0,
  backlog: 1024,
  // Its default threshold leaves messages below 1024 bytes as they are.
  perMessageDeflate: compression === "deflate" ? { threshold: 0 } : false,
});

function publish(first, left, round) {
  const wait = first * 1000 - Date.now();
  if (wait > 0) {
    setTimeout(publish, wait, first, left, round);
    return;
  }
  for (const text of rounds[round]) for (const client of server.clients) client.send(text);
  if (left > 1) setImmediate(publish, first + 1, left - 1, round + 1);
}

server.on("listening", () =>
  console.log(JSON.stringify({ port: server.address().port, pid: process.pid })),
);
const input = readline.createInterface({ input: process.stdin });
input.on("line", (line) => {
  const [word, first, count, round] = line.split(" ");
  if (word === "go") publish(Number(first), Number(count), Number(round));
});
input.on("close", () => process.exit(0));
