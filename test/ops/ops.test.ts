import { Registry } from 'prom-client';
import { afterEach, describe, expect, test } from 'vitest';
import { TidemarkError, AssertionError, EXIT } from '../../src/base/index.ts';
import { createLogger, createRegistry, createShutdown, exitCodeOf, redactText } from '../../src/ops/index.ts';
import { startOpsServer, type HealthCheck, type OpsServer } from '../../src/ops/index.ts';
import { eventually } from '../support/eventually.ts';

describe('the log', () => {
  const lines: string[] = [];
  afterEach(() => {
    lines.length = 0;
  });
  const write = (line: string): void => {
    lines.push(line);
  };

  test('holds no secret: not as a field, not inside one, not in the text of an error', () => {
    const log = createLogger({ role: 'test', write });
    const url = 'mysql://root:hunter2@db:3306/shop';
    log.info({ password: 'hunter2', source: { url, password: 'hunter2' } }, `cannot reach ${url}`);
    log.error({ err: new Error(`refused by ${url}`) }, 'failed');
    expect(lines).toHaveLength(2);
    expect(lines.join('')).not.toContain('hunter2');
    expect(lines[1]).toContain('mysql://root:[redacted]@db:3306');
  });

  test('redacts every password of a line, and nothing that is none', () => {
    expect(redactText('a://u:p@h b://x:y@z c://h:80/p')).toBe(
      'a://u:[redacted]@h b://x:[redacted]@z c://h:80/p',
    );
  });

  test('is JSON for machines and one short line for people, and carries the fields of a child', () => {
    createLogger({ role: 'coordinator', write }).child({ component: 'raft' }).info({ term: 3 }, 'leads');
    expect(JSON.parse(lines[0] ?? '')).toMatchObject({
      level: 'info',
      role: 'coordinator',
      component: 'raft',
      term: 3,
      msg: 'leads',
    });
    createLogger({ role: 'coordinator', format: 'text', write }).warn({ term: 3 }, 'leads');
    expect(lines[1]).toMatch(/^\d\d:\d\d:\d\d\.\d{3} warn {2}coordinator leads term=3\n$/);
  });

  test('leaves out what is below its level', () => {
    createLogger({ role: 'test', level: 'error', write }).warn({}, 'unheard');
    expect(lines).toEqual([]);
  });
});

describe('the orderly end', () => {
  const log = createLogger({ role: 'test', level: 'silent' });
  const setUp = (deadlineMs = 5_000): { shutdown: ReturnType<typeof createShutdown>; codes: number[] } => {
    const codes: number[] = [];
    const shutdown = createShutdown({ log, deadlineMs, signals: false, exit: (code) => codes.push(code) });
    return { shutdown, codes };
  };

  test('closes the last added first, each after the other, and exits once', async () => {
    const { shutdown, codes } = setUp();
    const order: string[] = [];
    for (const name of ['storage', 'network', 'http']) {
      shutdown.add(name, async () => {
        order.push(`${name} begins`);
        await Promise.resolve();
        order.push(`${name} ends`);
      });
    }
    shutdown.begin(EXIT.ok, 'test');
    shutdown.begin(EXIT.failed, 'again');
    expect(shutdown.signal.aborted).toBe(true);
    await eventually(() => codes.length > 0, { withinMs: 2_000 });
    expect(codes).toEqual([EXIT.ok]);
    expect(order).toEqual([
      'http begins',
      'http ends',
      'network begins',
      'network ends',
      'storage begins',
      'storage ends',
    ]);
  });

  test('goes on after a closer that fails, and exits with its code', async () => {
    const { shutdown, codes } = setUp();
    let closed = false;
    shutdown.add('later', () => {
      closed = true;
    });
    shutdown.add('broken', () => Promise.reject(new TidemarkError('OVERLOADED', 'no')));
    shutdown.begin(EXIT.ok, 'test');
    await eventually(() => codes.length > 0, { withinMs: 2_000 });
    expect(codes).toEqual([EXIT.tryAgain]);
    expect(closed).toBe(true);
  });

  test('does not wait for a closer that hangs beyond the deadline', async () => {
    const { shutdown, codes } = setUp(20);
    shutdown.add('hangs', () => new Promise(() => undefined));
    shutdown.begin(EXIT.ok, 'test');
    await eventually(() => codes.length > 0, { withinMs: 2_000 });
    expect(codes).toEqual([EXIT.failed]);
  });

  test('exit codes come from the table of errors; a broken invariant is internal', () => {
    expect(exitCodeOf(new TidemarkError('PORT_IN_USE', ''))).toBe(EXIT.config);
    expect(exitCodeOf(new AssertionError(''))).toBe(EXIT.internal);
    expect(exitCodeOf(new Error(''))).toBe(EXIT.internal);
  });
});

describe('health over HTTP', () => {
  let server: OpsServer | undefined;
  let problem = '';
  afterEach(async () => {
    await server?.close();
    problem = '';
  });
  const get = async (path: string, method = 'GET'): Promise<{ status: number; text: string }> => {
    const response = await fetch(`http://127.0.0.1:${server?.address.port ?? 0}${path}`, { method });
    return { status: response.status, text: await response.text() };
  };
  const start = async (registry = new Registry()): Promise<void> => {
    const disk: HealthCheck = { name: 'disk', check: () => problem };
    const raft: HealthCheck = { name: 'raft', check: () => '' };
    const listen = { host: '127.0.0.1', port: 0 };
    server = await startOpsServer({ listen, livez: [], readyz: [disk, raft], registry });
  };

  test('says ok, lists all when asked, and always lists what failed', async () => {
    await start();
    expect(await get('/readyz')).toEqual({ status: 200, text: 'ok\n' });
    expect(await get('/readyz?verbose')).toEqual({ status: 200, text: '[+]disk ok\n[+]raft ok\nok\n' });
    problem = 'is full';
    expect(await get('/readyz')).toEqual({ status: 503, text: '[-]disk is full\nfailed\n' });
    expect(await get('/readyz?verbose&exclude=disk')).toEqual({ status: 200, text: '[+]raft ok\nok\n' });
    expect(await get('/livez')).toEqual({ status: 200, text: 'ok\n' });
  });

  test('refuses other paths and methods', async () => {
    await start();
    expect(await get('/')).toMatchObject({ status: 404 });
    expect(await get('/livez', 'POST')).toMatchObject({ status: 405 });
  });

  test('tells how late the event loop was since the last scrape', async () => {
    await start(createRegistry('test'));
    const maximum = /tidemark_event_loop_delay_seconds\{quantile="1",role="test"\} ([\d.e-]+)/;
    const look = async (): Promise<boolean> => {
      // The sampler must have ticked since the last scrape: its first tick only sets the beginning.
      const ticked = performance.now() + 50;
      while (performance.now() < ticked) await get('/livez');
      const until = performance.now() + 150;
      while (performance.now() < until) {
        // The event loop is held on purpose.
      }
      return Number(maximum.exec((await get('/metrics')).text)?.[1]) >= 0.1;
    };
    await eventually(look, { withinMs: 3_000, what: 'a maximum of at least 0.1 s' });
  });
});
