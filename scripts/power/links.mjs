// TCP proxies before the peer ports of members, which can hold back what one member says to another: in one
// direction, for a while, on the connections of either side. Held bytes arrive when the cut heals, as TCP
// would send them again; no connection breaks meanwhile, as none does in a network that drops packets.
import { createServer, connect } from 'node:net';

/** The key `from` of the hello with which each peer stream begins (msgpack), before its number. */
const FROM = Buffer.from([0xa4, ...Buffer.from('from')]);
const HELLO_WITHIN = 64 * 1024;

export class Links {
  ports;
  #targets;
  #servers;
  #cuts = new Set();
  #pipes = new Set();
  #sockets = new Set();

  /** Makes a proxy for each of these ports of the loopback; member n listens at the n-th, from 1. */
  static async before(targets) {
    const made = new Links();
    made.#targets = targets;
    made.#servers = await Promise.all(
      targets.map(
        (_, at) =>
          new Promise((resolve) => {
            const server = createServer((socket) => made.#accept(socket, at + 1));
            server.listen(0, '127.0.0.1', () => resolve(server));
          }),
      ),
    );
    made.ports = made.#servers.map((server) => server.address().port);
    return made;
  }

  /** From now on `to` hears nothing of `from`. */
  cut(from, to) {
    this.#cuts.add(`${from}>${to}`);
  }

  heal(from, to) {
    this.#cuts.delete(`${from}>${to}`);
    for (const pipe of this.#pipes) pipe.flow();
  }

  healAll() {
    this.#cuts.clear();
    for (const pipe of this.#pipes) pipe.flow();
  }

  close() {
    for (const socket of this.#sockets) socket.destroy();
    for (const server of this.#servers) server.close();
  }

  #accept(caller, id) {
    const target = connect(this.#targets[id - 1], '127.0.0.1');
    const who = { caller: undefined };
    let seen = Buffer.alloc(0);
    const learn = (data) => {
      if (who.caller !== undefined || seen.length > HELLO_WITHIN) return;
      seen = Buffer.concat([seen, data]);
      const at = seen.indexOf(FROM);
      if (at >= 0 && at + FROM.length < seen.length) who.caller = seen[at + FROM.length];
    };
    this.#pipe(caller, target, { learn, cut: () => this.#cuts.has(`${who.caller}>${id}`) });
    this.#pipe(target, caller, { learn: () => undefined, cut: () => this.#cuts.has(`${id}>${who.caller}`) });
  }

  #pipe(source, sink, { learn, cut }) {
    const held = [];
    const flow = () => {
      if (cut()) return;
      for (const pass of held.splice(0)) pass();
      source.resume();
    };
    const take = (pass) => {
      if (!cut() && held.length === 0) return pass();
      held.push(pass);
      source.pause();
    };
    const pipe = { flow };
    this.#pipes.add(pipe);
    this.#sockets.add(source);
    source.on('data', (data) => {
      learn(data);
      take(() => sink.write(data));
    });
    const ended = () => take(() => sink.destroy());
    source.on('error', ended);
    source.on('close', () => {
      this.#sockets.delete(source);
      ended();
      if (held.length === 0) this.#pipes.delete(pipe);
    });
  }
}
