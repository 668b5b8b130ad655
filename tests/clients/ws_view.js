// What the package ws gets from the hub: `node ws_view.js FOLDER_WITH_WS SECONDS URL…`.
"use strict";

const path = require("node:path");
const { followAll } = require("./follow.js");

const [folder, seconds, ...urls] = process.argv.slice(2);
const { WebSocket } = require(path.join(folder, "node_modules", "ws"));

followAll(WebSocket, urls, Number(seconds), (name, value) => {
  process.stdout.write(JSON.stringify([name, value]) + "\n");
});
