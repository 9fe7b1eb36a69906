/**
 * SQL engines: one interface over MySQL, MariaDB and the embedded engine, with exact values and coded errors.
 */
export * from './column-types.ts';
export { embeddedDialect } from './embedded-dialect.ts';
export { openEmbedded } from './embedded-engine.ts';
export type { EngineOptions } from './engine-options.ts';
export * from './engine.ts';
export { parseMysqlUrl, type MysqlTarget } from './mysql-address.ts';
export { mysqlDialect, WARNINGS_SHOWN_MAX } from './mysql-dialect.ts';
export { openMysql } from './mysql-engine.ts';
export { mysqlError } from './mysql-errors.ts';
export { openEngine } from './open-engine.ts';
export { GroupEngine, type GroupLog } from './router/group.ts';
export type { NamedEngine, ServerState } from './router/server.ts';
export { textPosition, tokenize, type Token, type TokenKind } from './tokens.ts';
