// The fan-out with Node's ws:  node node_ws.js PORT RATE READERS
// Once READERS are connected: RATE events a second to all of them; with 0, as many as their sockets
// take, one write an event.
'use strict';
const { WebSocketServer, WebSocket } = require(process.env.PEERS_NODE + '/node_modules/ws');

const EVENT_BYTES = 100;
const MOST_BUFFERED = 64 * 1024;
const [port, rate, readers] = process.argv.slice(2).map(Number);
const server = new WebSocketServer({ port, host: '127.0.0.1', backlog: 4096 });

function payload(tick, due) {
  const start = `{"tick":${tick},"due":${due},"padding":"`;
  return start + 'x'.repeat(EVENT_BYTES - start.length - 2) + '"}';
}

function broadcast(tick, due) {
  const data = payload(tick, due);
  for (const client of server.clients) {
    if (client.readyState === WebSocket.OPEN) client.send(data);
  }
}

function paced() {
  const start = process.hrtime.bigint();
  let tick = 0;
  const dueAt = (n) => start + BigInt(Math.round((n * 1e9) / rate));
  const turn = () => {
    for (; dueAt(tick) <= process.hrtime.bigint(); tick += 1) broadcast(tick, dueAt(tick));
    setTimeout(turn, Math.max(0, Number(dueAt(tick) - process.hrtime.bigint()) / 1e6));
  };
  turn();
}

function flood() {
  let tick = 0;
  const turn = () => {
    let buffered = 0;
    for (const client of server.clients) buffered = Math.max(buffered, client.bufferedAmount);
    if (server.clients.size === 0 || buffered > MOST_BUFFERED) return setTimeout(turn, 1);
    broadcast(tick, process.hrtime.bigint());
    tick += 1;
    return setImmediate(turn);
  };
  turn();
}

server.on('connection', () => {
  if (server.clients.size === readers) (rate > 0 ? paced : flood)();
});
