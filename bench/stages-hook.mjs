// Loaded into a coordinator by the benchmark (--stages): the first SIGUSR2 begins a sampled profile of
// its main thread, the second ends it and writes the microseconds of each stage into a file. A sample
// belongs to the innermost function on its stack that lies in a stage's file; frames of gRPC and Node
// without one are the connections' own work.
import { writeFileSync } from 'node:fs';
import { Session } from 'node:inspector';
import { join } from 'node:path';

const SAMPLE_US = 250;
const STAGES = [
  ['propose', /coordinator\/(proposer|key-value-service)|wire\/key-value-frames/],
  ['encode', /raft\/(entry|peer-codec|frame-writer)|base\/codec|statemachine\/commands\/entry/],
  ['log write', /raft\/log-store|driver\/write-queue/],
  ['send', /driver\/outbox|grpc-transport\/peer-link/],
  ['ack', /raft\/core|driver\/driver|grpc-transport\/peer-inbox/],
  ['apply', /statemachine\/|driver\/applier|driver\/proposals|nothing-node/],
  ['reply', /wire\/guarded-stream/],
];

const session = new Session();
session.connect();
const post = (method, parameters) =>
  new Promise((resolve, reject) =>
    session.post(method, parameters, (error, result) => (error === null ? resolve(result) : reject(error))),
  );

let running = false;
process.on('SIGUSR2', async () => {
  running = !running;
  if (running) {
    await post('Profiler.enable');
    await post('Profiler.setSamplingInterval', { interval: SAMPLE_US });
    await post('Profiler.start');
    return;
  }
  const { profile } = await post('Profiler.stop');
  writeFileSync(join(process.env.TIDEMARK_BENCH_STAGES, `${process.pid}.json`), JSON.stringify(sum(profile)));
});

function sum({ nodes, samples, timeDeltas }) {
  const stageOf = new Map();
  const visit = (node, inherited, byId) => {
    const stage = own(node.callFrame) ?? inherited;
    stageOf.set(node.id, stage);
    for (const child of node.children ?? []) visit(byId.get(child), stage, byId);
  };
  const byId = new Map(nodes.map((node) => [node.id, node]));
  visit(nodes[0], 'connections', byId);
  const totals = {};
  samples.forEach((id, at) => {
    const stage = stageOf.get(id);
    totals[stage] = (totals[stage] ?? 0) + timeDeltas[at];
  });
  delete totals.profiler;
  return totals;
}

function own({ functionName, url }) {
  if (functionName === '(garbage collector)') return 'garbage';
  if (functionName === '(idle)') return 'idle';
  if (functionName === '(program)') return 'native';
  if (functionName === 'dispatch' && url === '') return 'profiler';
  return STAGES.find(([, files]) => files.test(url))?.[0];
}
