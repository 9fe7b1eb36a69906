/** A coordinator that answers each call as the test says, over real gRPC; and a list of what was asked. */
import { Server, ServerCredentials, type ServerUnaryCall, type sendUnaryData } from '@grpc/grpc-js';
import {
  ClientService,
  ListSourcesReply,
  OpenSessionReply,
  RetryTasksReply,
  StatusReply,
  toServiceError,
} from '../../src/wire/index.ts';

/** Fields that a test leaves out get the values that the wire gives them. */
const REPLIES: Readonly<Record<string, { fromPartial(partial: object): unknown }>> = {
  listSources: ListSourcesReply,
  openSession: OpenSessionReply,
  retryTasks: RetryTasksReply,
  status: StatusReply,
};

/** What one call gets: a reply, an error, no answer at all, or the connection cut with the call in it. */
export type Answer = { readonly reply: object } | { readonly error: Error } | 'silence' | 'cut';

export interface Asked {
  readonly method: string;
  readonly request: Readonly<Record<string, unknown>>;
}

export class ScriptedCoordinator {
  readonly asked: Asked[] = [];
  address = '';
  /** Decides each answer by method and by how often it was asked before. */
  answer: (method: string, before: number) => Answer = () => ({ reply: {} });
  #server = new Server();

  static async start(): Promise<ScriptedCoordinator> {
    const coordinator = new ScriptedCoordinator();
    await coordinator.listen('127.0.0.1:0');
    return coordinator;
  }

  stop(): void {
    this.#server.forceShutdown();
  }

  of(method: string): Asked[] {
    return this.asked.filter((one) => one.method === method);
  }

  listen(address: string): Promise<void> {
    this.#server = new Server();
    const handlers = Object.fromEntries(
      Object.keys(ClientService).map((method) => [
        method,
        (call: ServerUnaryCall<Record<string, unknown>, unknown>, done: sendUnaryData<unknown>) => {
          this.#handle(method, call.request, done);
        },
      ]),
    );
    this.#server.addService(ClientService, handlers);
    return new Promise((resolve, reject) => {
      this.#server.bindAsync(address, ServerCredentials.createInsecure(), (error, port) => {
        this.address = `127.0.0.1:${port}`;
        if (error === null) resolve();
        else reject(error);
      });
    });
  }

  #handle(method: string, request: Record<string, unknown>, done: sendUnaryData<unknown>): void {
    const answer = this.answer(method, this.of(method).length);
    this.asked.push({ method, request });
    if (answer === 'silence') return;
    if (answer === 'cut') {
      this.#server.forceShutdown();
      void this.listen(this.address);
    } else if ('error' in answer) done(toServiceError(answer.error));
    else done(null, REPLIES[method]?.fromPartial(answer.reply));
  }
}
