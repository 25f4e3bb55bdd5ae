// Node's ws as the service behind tests/foreign_servers.py. Prints its port.
//
//     node tests/foreign_server.mjs node_modules/ws/wrapper.mjs EVENTS.json

import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { pathToFileURL } from "node:url";

const { WebSocketServer } = await import(pathToFileURL(process.argv[2]));
const events = JSON.parse(readFileSync(process.argv[3]));

// The session's id holds the options: no or 8 to 15 bits of the window, takeover or not, fragments.
function options(path) {
  const [bits, takeover, fragments] = path.split("/")[2].split("-");
  const deflate = { threshold: 0, serverNoContextTakeover: takeover === "none" };
  if (bits !== "any") deflate.serverMaxWindowBits = Number(bits);
  return { deflate, fragments: Number(fragments) };
}

function send(socket, text, fragments) {
  const length = Math.ceil(text.length / fragments);
  for (let n = 0; n < fragments; n++) {
    socket.send(text.slice(n * length, (n + 1) * length), { fin: n === fragments - 1 });
    if (n + 1 < fragments) socket.ping("between");
  }
}

const http = createServer();
http.on("upgrade", (request, tcp, head) => {
  const { deflate, fragments } = options(request.url);
  const server = new WebSocketServer({ noServer: true, perMessageDeflate: deflate });
  server.handleUpgrade(request, tcp, head, (socket) => {
    socket.on("message", (data) => {
      const { type, msgId } = JSON.parse(data);
      send(socket, JSON.stringify({ head: { msgId, ok: true, errors: [] }, body: {} }), fragments);
      if (type !== "subscribe") return;
      for (const event of events) send(socket, event, fragments);
    });
  });
});
http.listen(0, "127.0.0.1", () => console.log(http.address().port));
