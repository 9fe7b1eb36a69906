/**
 * Takes row events off zongji's connection as they came, before zongji makes objects of them: they are read
 * by {@link ImageReader}s, exactly and at a fraction of the cost. Everything else is zongji's.
 *
 * The layout is that of MySQL's replication protocol: one byte 0, the event's header (19 bytes), a table id
 * and flags, the columns that the images hold, the images, and a checksum.
 */
import { crc32, inflateSync } from 'node:zlib';
import type ZongJi from '@vlasky/zongji';
import { DECLARE_AGAIN, TidemarkError } from '../../base/index.ts';

/** A row event without its images decoded. */
export interface RowEvent {
  readonly kind: 'insert' | 'update' | 'delete';
  readonly tableId: number;
  readonly columns: number;
  /** One bit per column for each image of a row: which columns it holds. */
  readonly present: readonly Uint8Array[];
  /** The images, one after the other, from `from` to `to`. */
  readonly bytes: Buffer;
  readonly from: number;
  readonly to: number;
}

export interface RawHandlers {
  /**
   * Called before zongji hears of a table map; its table may not be captured. True if the same is known
   * already: then zongji does not hear of it.
   */
  tableMap(tableId: number, map: Buffer): boolean;
  /** Whether the table's rows are wanted; nothing more is read of the event if not. */
  wants(tableId: number): boolean;
  rows(event: RowEvent): void;
  fail(error: unknown): void;
}

/** The part of mysql2's packet that is used. */
interface Packet {
  readonly buffer: Buffer;
  readonly offset: number;
  readonly end: number;
}

type PacketHandler = (this: unknown, packet: Packet, connection: unknown) => unknown;

/** zongji's insides: a class that it makes anew for each stream, with the handler of a packet. */
interface Insides {
  readonly BinlogClass: { readonly prototype: { binlogData: PacketHandler } };
  readonly useChecksum: boolean;
}

const HEADER_BYTES = 20;
const TYPE_AT = 5;
const TABLE_ID_BYTES = 6;
const CHECKSUM_BYTES = 4;
const TABLE_MAP = 19;
interface Layout {
  readonly kind: RowEvent['kind'];
  /** Version 2 has a part of its own behind the flags. */
  readonly version: 1 | 2;
  readonly compressed: boolean;
}

const LAYOUTS: ReadonlyMap<number, Layout> = new Map(
  (
    [
      [23, 1, false],
      [30, 2, false],
      [166, 1, true],
      [169, 2, true],
    ] as const
  ).flatMap(([first, version, compressed]) =>
    (['insert', 'update', 'delete'] as const).map((kind, index): [number, Layout] => [
      first + index,
      { kind, version, compressed },
    ]),
  ),
);

/** Begins; call it when zongji is ready, before it sends its request. */
export function takeRowEvents(zongji: ZongJi, handlers: RawHandlers): void {
  const insides = zongji as unknown as Insides;
  const { prototype } = insides.BinlogClass;
  const inherited = prototype.binlogData;
  prototype.binlogData = function binlogData(packet, connection): unknown {
    const type = packet.buffer[packet.offset] === 0 ? packet.buffer[packet.offset + TYPE_AT] : undefined;
    if (type === TABLE_MAP) {
      const tableId = packet.buffer.readUIntLE(packet.offset + HEADER_BYTES, TABLE_ID_BYTES);
      const end = packet.end - (insides.useChecksum ? CHECKSUM_BYTES : 0);
      const map = packet.buffer.subarray(packet.offset + HEADER_BYTES, end);
      if (handlers.tableMap(tableId, map)) return prototype.binlogData;
    }
    const layout = type === undefined ? undefined : LAYOUTS.get(type);
    if (layout === undefined) return inherited.call(this, packet, connection);
    try {
      const tableId = packet.buffer.readUIntLE(packet.offset + HEADER_BYTES, TABLE_ID_BYTES);
      if (handlers.wants(tableId)) {
        handlers.rows(rowEvent(tableId, layout, packet, insides.useChecksum));
      }
    } catch (error) {
      handlers.fail(error);
    }
    return prototype.binlogData;
  };
}

function rowEvent(tableId: number, layout: Layout, packet: Packet, hasChecksum: boolean): RowEvent {
  const { buffer } = packet;
  const to = packet.end - (hasChecksum ? CHECKSUM_BYTES : 0);
  if (hasChecksum && crc32(buffer.subarray(packet.offset + 1, to)) !== buffer.readUInt32LE(to)) {
    throw new TidemarkError('SOURCE_UNTELLABLE', 'a row event of the binlog does not have its checksum', {
      next: `The binlog is damaged: look at the disk of the source. ${DECLARE_AGAIN}`,
    });
  }
  let at = packet.offset + HEADER_BYTES + TABLE_ID_BYTES + 2;
  if (layout.version === 2) at += buffer.readUInt16LE(at);
  const [columns, behind] = columnCount(buffer, at);
  const bitmapBytes = Math.ceil(columns / 8);
  const images = layout.kind === 'update' ? 2 : 1;
  const present = Array.from({ length: images }, (_, image) => {
    const from = behind + image * bitmapBytes;
    return buffer.subarray(from, from + bitmapBytes);
  });
  const from = behind + images * bitmapBytes;
  const event = { kind: layout.kind, tableId, columns, present };
  if (!layout.compressed) return { ...event, bytes: buffer, from, to };
  const bytes = inflated(buffer.subarray(from, to));
  return { ...event, bytes, from: 0, to: bytes.length };
}

/** A length-encoded integer of at most 16 bits: a table has at most 4,096 columns. */
function columnCount(buffer: Buffer, at: number): readonly [number, number] {
  const first = buffer.readUInt8(at);
  return first < 251 ? [first, at + 1] : [buffer.readUInt16LE(at + 1), at + 3];
}

const INFLATED_MAX = 1024 ** 3;

/** MariaDB's log_bin_compress: a byte with the method and the size of a length, the length, a zlib stream. */
function inflated(bytes: Buffer): Buffer {
  const head = bytes.readUInt8(0);
  const lengthBytes = head & 7;
  if ((head & 0xf0) !== 0x80 || lengthBytes < 1 || lengthBytes > 4) {
    throw new TidemarkError('SOURCE_UNTELLABLE', 'a row event is compressed in a way that is not known');
  }
  const length = bytes.readUIntBE(1, lengthBytes);
  const plain = inflateSync(bytes.subarray(1 + lengthBytes), { maxOutputLength: INFLATED_MAX });
  if (plain.length === length) return plain;
  throw new TidemarkError('SOURCE_UNTELLABLE', 'a compressed row event is not as long as it says');
}
