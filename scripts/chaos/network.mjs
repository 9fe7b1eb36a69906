// The network between the executors and all that they talk to: a proxy before each server, which knows by
// the operating system's tables whose connection it passes on, and can hold or lose what is said on it, in
// either direction.
import { readdir, readFile, readlink } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';

const HOST = '127.0.0.1';
const END = Symbol('the end of a connection');
const hex = (port) => port.toString(16).toUpperCase().padStart(4, '0');

export class Network {
  #processes;
  #servers = [];
  #lines = new Set();
  #cuts = new Set();

  /** @param processes () => the children whose connections are told apart */
  constructor(processes) {
    this.#processes = processes;
  }

  /** Opens a proxy before a server's port; returns the proxy's own. */
  async before(name, port) {
    const server = createServer((caller) => void this.#accept({ caller, name, port }));
    await new Promise((resolve) => server.listen(0, HOST, resolve));
    this.#servers.push(server);
    return server.address().port;
  }

  /**
   * From now on what `child` says to servers that `at` picks by their names, or hears of them, is `held` (it
   * arrives when the cut heals, as TCP would send it again) or `lost` (those connections break then). New
   * connections are cut as well.
   */
  cut(child, { at = () => true, said = 'passed', heard = 'passed' }) {
    const cut = { child, at, said, heard, lostBytes: 0, touched: new Set() };
    this.#cuts.add(cut);
    return {
      /** Bytes that did not arrive, so far. */
      bytes: () => cut.lostBytes + this.#heldBytes(cut),
      heal: () => {
        this.#cuts.delete(cut);
        for (const line of cut.touched) line.end();
        for (const line of this.#lines) line.flow();
      },
    };
  }

  close() {
    for (const line of this.#lines) line.end();
    for (const server of this.#servers) server.close();
  }

  #heldBytes(cut) {
    const lines = [...this.#lines].filter((line) => line.child === cut.child && cut.at(line.name));
    return lines.reduce((sum, line) => sum + line.heldBytes(), 0);
  }

  async #accept({ caller, name, port }) {
    const line = new Line({ caller, target: connect(port, HOST), name, cuts: this.#cuts });
    this.#lines.add(line);
    line.ended.then(() => this.#lines.delete(line));
    line.knownAs(await this.#ownerOf(caller));
  }

  /** Which process has the other end of a connection; undefined for one that is not watched, or has gone. */
  async #ownerOf(socket) {
    const [from, to] = [hex(socket.remotePort ?? 0), hex(socket.localPort ?? 0)];
    const rows = (await readFile('/proc/net/tcp', 'utf8')).split('\n').map((row) => row.trim().split(/\s+/));
    const row = rows.find(([, local, remote]) => local?.endsWith(`:${from}`) && remote?.endsWith(`:${to}`));
    if (row === undefined) return undefined;
    const link = `socket:[${row[9]}]`;
    for (const child of this.#processes()) {
      if (child.pid !== undefined && (await hasOpen(child.pid, link))) return child;
    }
    return undefined;
  }
}

async function hasOpen(pid, link) {
  const folder = `/proc/${pid}/fd`;
  try {
    for (const file of await readdir(folder)) if ((await linkAt(join(folder, file))) === link) return true;
    return false;
  } catch (error) {
    return passedBy(error);
  }
}

async function linkAt(file) {
  try {
    return await readlink(file);
  } catch (error) {
    return passedBy(error);
  }
}

/** A process or a file of one that ended meanwhile is not the one that was looked for. */
function passedBy(error) {
  if (['ENOENT', 'ESRCH'].includes(error.code)) return false;
  throw error;
}

/** One connection: two pipes, which wait until it is known whose it is. */
class Line {
  child;
  name;
  ended;
  #sockets;
  #pipes;
  #known = false;

  constructor({ caller, target, name, cuts }) {
    this.name = name;
    this.#sockets = [caller, target];
    const modeOf = (direction) => (bytes) => this.#mode(cuts, direction, bytes);
    this.#pipes = [
      new Pipe({ from: caller, into: target, mode: modeOf('said') }),
      new Pipe({ from: target, into: caller, mode: modeOf('heard') }),
    ];
    this.ended = Promise.all(
      this.#sockets.map((socket) => new Promise((resolve) => socket.once('close', resolve))),
    );
  }

  knownAs(child) {
    this.child = child;
    this.#known = true;
    this.flow();
  }

  flow() {
    for (const pipe of this.#pipes) pipe.flow();
  }

  heldBytes() {
    return this.#pipes.reduce((sum, pipe) => sum + pipe.heldBytes(), 0);
  }

  end() {
    for (const socket of this.#sockets) socket.destroy();
  }

  #mode(cuts, direction, bytes) {
    if (!this.#known) return 'held';
    for (const cut of cuts) {
      if (cut.child !== this.child || !cut.at(this.name) || cut[direction] === 'passed') continue;
      if (cut[direction] === 'lost') {
        cut.lostBytes += bytes;
        cut.touched.add(this);
      }
      return cut[direction];
    }
    return 'passed';
  }
}

class Pipe {
  #from;
  #into;
  #mode;
  #waiting = [];

  constructor({ from, into, mode }) {
    this.#from = from;
    this.#into = into;
    this.#mode = mode;
    from.setNoDelay(true);
    from.on('data', (data) => this.#take(data));
    from.on('close', () => this.#take(END));
    // 'close' follows.
    from.on('error', (error) => from.destroy(error));
    into.on('drain', () => this.flow());
  }

  flow() {
    while (this.#waiting.length > 0) {
      const [next] = this.#waiting;
      const mode = this.#mode(next === END ? 0 : next.length);
      // An end is no byte: it comes through when the cut heals.
      if (mode === 'held' || (mode === 'lost' && next === END)) break;
      this.#waiting.shift();
      if (mode === 'lost') continue;
      if (next === END) this.#into.destroy();
      else if (!this.#into.write(next)) break;
    }
    if (this.#waiting.length > 0 || this.#into.writableNeedDrain) this.#from.pause();
    else this.#from.resume();
  }

  heldBytes() {
    return this.#waiting.reduce((sum, data) => sum + (data === END ? 0 : data.length), 0);
  }

  #take(item) {
    this.#waiting.push(item);
    this.flow();
  }
}
