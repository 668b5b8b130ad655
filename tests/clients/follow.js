// What a WebSocket of a browser, or one made like it, gets from the hub. See hub_visit.py for what
// is shown.
"use strict";

const POSITION = /"epoch":(\d+),"sequence":(\d+)\}*\]*\}*$/;

// Read until the connection is cut, resume, and read for so many seconds more.
async function follow(Socket, number, url, seconds, show) {
  let position = "";
  const [address, anew] = url.split("#");
  const first = new Socket(address);
  first.onopen = () => show(`extensions ${number}`, first.extensions);
  first.onmessage = ({ data }) => {
    show(`before ${number}`, data);
    position = POSITION.exec(data).slice(1).join("-");
  };
  first.onerror = () => {};
  show(`cut ${number}`, await closed(first));
  show(`since ${number}`, position);
  const second = new Socket(anew ? address : `${address}&since=${position}`);
  second.onmessage = ({ data }) => show(`after ${number}`, data);
  second.onerror = () => {};
  setTimeout(() => second.close(1000), 1000 * seconds);
  show(`end ${number}`, await closed(second));
}

function closed(socket) {
  return new Promise((resolve) => {
    socket.onclose = ({ code }) => resolve(code);
  });
}

// Follow all addresses at the same time.
function followAll(Socket, urls, seconds, show) {
  return Promise.all(urls.map((url, number) => follow(Socket, number, url, seconds, show)));
}

if (typeof module !== "undefined") module.exports = { followAll };
