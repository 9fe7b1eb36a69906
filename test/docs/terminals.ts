/** Runs what a page tells its reader to type, in a folder that looks like a clone. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, symlink } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { builtCli } from '../support/dist.ts';
import { eventually } from '../support/eventually.ts';

const STAYS_OPEN = /^npx tidemark (coordinator|executor) start/;
/** The client address of a coordinator that is started without saying one. */
const CLIENT_PORT = 7401;

interface Terminal {
  readonly process: ChildProcess;
  said: string;
}

export class Terminals {
  readonly folder: string;
  readonly #environment: NodeJS.ProcessEnv;
  readonly #open = new Map<string, Terminal>();

  private constructor(folder: string, environment: NodeJS.ProcessEnv) {
    this.folder = folder;
    this.#environment = environment;
  }

  /** `environment` is what the page asks its reader to set. */
  static async inClone(environment: Readonly<Record<string, string>>): Promise<Terminals> {
    const folder = await mkdtemp(join(tmpdir(), 'tidemark-docs-'));
    const root = resolve(dirname(await builtCli()), '../..');
    for (const name of ['dist', 'node_modules', 'package.json']) {
      await symlink(join(root, name), join(folder, name));
    }
    return new Terminals(folder, { ...process.env, ...environment });
  }

  /**
   * Types the commands: in a terminal of their own if they stay open, else to their end. Each must succeed.
   */
  async type(commands: string): Promise<void> {
    if (STAYS_OPEN.test(commands)) await this.open(commands);
    else await this.run(commands);
  }

  /** Starts what stays open, and waits for what its reader would see: a coordinator takes calls. */
  async open(command: string): Promise<void> {
    const child = spawn('bash', ['-c', command], {
      cwd: this.folder,
      env: this.#environment,
      detached: true,
    });
    const terminal: Terminal = { process: child, said: '' };
    const hear = (chunk: Buffer): void => {
      terminal.said += chunk.toString();
    };
    child.stdout.on('data', hear);
    child.stderr.on('data', hear);
    this.#open.set(command, terminal);
    if (!command.includes('coordinator start')) return;
    const port = Number(/--client-listen \S+:(\d+)/.exec(command)?.[1] ?? CLIENT_PORT);
    await eventually(() => accepts(port), { withinMs: 15_000, what: () => this.said() });
  }

  /** Runs commands to their end and resolves with what they wrote to stdout. Each must succeed. */
  async run(commands: string): Promise<string> {
    const child = spawn('bash', ['-e', '-c', commands], { cwd: this.folder, env: this.#environment });
    let out = '';
    let err = '';
    child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()));
    const [code] = (await once(child, 'close')) as [number];
    if (code !== 0) throw new Error(`exit code ${code}: ${commands}\n${out}${err}\n${this.said()}`);
    return out;
  }

  /** The command that runs in an open terminal and contains `part`. */
  find(part: string): string | undefined {
    return [...this.#open.keys()].find((command) => command.includes(part));
  }

  /** Ends all of a terminal by SIGKILL. */
  async kill(command: string): Promise<void> {
    const terminal = this.#open.get(command);
    this.#open.delete(command);
    if (terminal?.process.pid === undefined || terminal.process.exitCode !== null) return;
    const gone = once(terminal.process, 'close');
    process.kill(-terminal.process.pid, 'SIGKILL');
    await gone;
  }

  async close(): Promise<void> {
    for (const command of [...this.#open.keys()]) await this.kill(command);
    await rm(this.folder, { recursive: true });
  }

  /** The end of what each open terminal shows. */
  said(): string {
    return [...this.#open].map(([command, { said }]) => `--- ${command}\n${said.slice(-1500)}`).join('\n');
  }
}

async function accepts(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } finally {
    socket.destroy();
  }
}
