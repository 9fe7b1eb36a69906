// As much of etcd's v3 API as a benchmark of single puts needs, over the same grpc-js that Tidemark uses.
import { BinaryReader, BinaryWriter } from '@bufbuild/protobuf/wire';
import { Client, Metadata, credentials } from '@grpc/grpc-js';

const PUT = '/etcdserverpb.KV/Put';
const STATUS = '/etcdserverpb.Maintenance/Status';

const bytes = (message) => Buffer.from(message);
const putRequest = ({ key, value }) =>
  bytes(new BinaryWriter().uint32(10).bytes(Buffer.from(key)).uint32(18).bytes(value).finish());

/** StatusResponse: header = 1 { member_id = 2 }, leader = 4. */
function statusReply(buffer) {
  const status = { member: 0n, leader: 0n };
  const reader = new BinaryReader(buffer);
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag();
    if (field === 1) {
      const end = reader.uint32() + reader.pos;
      while (reader.pos < end) {
        const [inner, innerType] = reader.tag();
        if (inner === 2) status.member = BigInt(reader.uint64());
        else reader.skip(innerType);
      }
    } else if (field === 4) status.leader = BigInt(reader.uint64());
    else reader.skip(type);
  }
  return status;
}

export class EtcdClient {
  constructor(address) {
    this.client = new Client(address, credentials.createInsecure());
  }

  call(path, encode, decode, request, withinMs) {
    const deadline = Date.now() + withinMs;
    return new Promise((resolve, reject) => {
      this.client.makeUnaryRequest(
        path,
        encode,
        decode,
        request,
        new Metadata(),
        { deadline },
        (error, reply) => (error === null ? resolve(reply) : reject(error)),
      );
    });
  }

  put(key, value, withinMs = 5_000) {
    return this.call(PUT, putRequest, () => ({}), { key, value }, withinMs);
  }

  /** Resolves if this member leads; a member that does not, or does not know, rejects. */
  async leads() {
    const { member, leader } = await this.call(STATUS, () => Buffer.alloc(0), statusReply, {}, 1_000);
    if (leader === 0n || member !== leader) throw new Error('another member leads');
    return this;
  }

  close() {
    this.client.close();
  }
}
