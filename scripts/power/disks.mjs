// Disks whose power can be cut: ext4 images on loop devices. FS_IOC_SHUTDOWN without flushing the journal
// drops what was never synced and fails every later write with EIO: Linux has it for this purpose.
import { execFile, execFileSync, spawnSync } from 'node:child_process';
import {
  closeSync,
  mkdirSync,
  openSync,
  rmSync,
  statfsSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { pause } from '../../bench/cluster.mjs';

const run = promisify(execFile);

// _IOR('X', 125, __u32) with FS_SHUTDOWN_FLAGS_NOLOGFLUSH: neither data nor the journal is written out.
const SHUTDOWN = 0x80_04_58_7d;
const NO_LOG_FLUSH = 2;
const PYTHON = `
import fcntl, os, struct, sys
for path in sys.argv[1:]:
    fcntl.ioctl(os.open(path, os.O_RDONLY), ${SHUTDOWN}, struct.pack('I', ${NO_LOG_FLUSH}))
`;
const C = `
#include <fcntl.h>
#include <sys/ioctl.h>
int main(int argc, char **argv) {
  for (int at = 1; at < argc; at++) {
    unsigned flags = ${NO_LOG_FLUSH};
    int file = open(argv[at], O_RDONLY);
    if (file < 0 || ioctl(file, ${SHUTDOWN}UL, &flags) != 0) return 1;
  }
  return 0;
}
`;

const works = (program, words) => spawnSync(program, words, { stdio: 'ignore' }).status === 0;

/** What this machine lacks, or undefined. Asked in the mount namespace in which the disks are to be. */
export async function whatIsMissing(folder) {
  if (process.platform !== 'linux') return 'Linux (loop devices and FS_IOC_SHUTDOWN)';
  if (process.getuid() !== 0) return 'root (loop mounts)';
  for (const program of ['mkfs.ext4', 'mount', 'umount', 'fsfreeze', 'fallocate'])
    if (!works('sh', ['-c', `command -v ${program}`])) return program;
  if (!works('python3', ['-c', 'import fcntl']) && !works('gcc', ['--version'])) return 'python3 or gcc';
  try {
    const disk = new Disk(join(folder, 'probe'));
    await disk.powerFails();
    await disk.powerOn();
    await disk.discard();
    return undefined;
  } catch (error) {
    return `loop mounts of ext4 that can be shut down (${String(error.message).split('\n')[0]})`;
  }
}

let compiled;

function shutdownProgram(folder) {
  if (works('python3', ['-c', 'import fcntl'])) return ['python3', ['-c', PYTHON]];
  compiled ??= join(folder, 'power-off');
  writeFileSync(`${compiled}.c`, C);
  execFileSync('gcc', ['-o', compiled, `${compiled}.c`]);
  return [compiled, []];
}

export class Disk {
  #image;
  #program;
  #ballast;

  /** Makes and mounts a disk at `path`. */
  constructor(path, megabytes = 96) {
    this.path = path;
    this.#image = `${path}.img`;
    this.#ballast = join(path, 'ballast');
    this.#program = shutdownProgram(join(path, '..'));
    mkdirSync(path, { recursive: true });
    closeSync(openSync(this.#image, 'w'));
    truncateSync(this.#image, megabytes * 1024 * 1024);
    execFileSync('mkfs.ext4', ['-q', '-F', this.#image]);
    this.#mount();
  }

  /** What was not synced is gone, every later write fails with EIO. */
  async powerFails() {
    const [program, words] = this.#program;
    await run(program, [...words, this.path]);
  }

  /** Mounts again what is there. Nobody may hold a file of it any more. */
  async powerOn() {
    await this.#unmount();
    this.#mount();
  }

  async freeze() {
    await run('fsfreeze', ['-f', this.path]);
  }

  async thaw() {
    await run('fsfreeze', ['-u', this.path]);
  }

  fill() {
    const { bavail, bsize } = statfsSync(this.path);
    execFileSync('fallocate', ['-l', String(Math.floor(bavail * bsize * 0.9)), this.#ballast]);
    const file = openSync(this.#ballast, 'a');
    const block = Buffer.alloc(1024 * 1024, 1);
    let size = block.length;
    while (size >= 512) {
      try {
        writeSync(file, block, 0, size);
      } catch (error) {
        if (error.code !== 'ENOSPC') throw error;
        size = Math.floor(size / 2);
      }
    }
    closeSync(file);
  }

  free() {
    rmSync(this.#ballast);
  }

  async discard() {
    await this.#unmount();
    rmSync(this.#image);
  }

  #mount() {
    execFileSync('mount', ['-o', 'loop', this.#image, this.path]);
  }

  /** The kernel lets go of a killed process's files a moment after it has told of its end. */
  async #unmount() {
    for (let attempt = 0; ; attempt++) {
      if (works('umount', [this.path])) return;
      if (attempt === 50) throw new Error(`${this.path} stays busy`);
      await pause(20);
    }
  }
}
