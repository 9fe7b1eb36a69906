/** Options of every gRPC channel and server: grpc-js has no limits of its own on the server's side. */
import type { ChannelOptions } from '@grpc/grpc-js';
import { LIMITS } from '../base/index.ts';

export const CHANNEL_OPTIONS: Readonly<ChannelOptions> = {
  'grpc.max_receive_message_length': LIMITS.grpcMessageBytesMax,
  'grpc.max_send_message_length': LIMITS.grpcMessageBytesMax,
  'grpc.max_concurrent_streams': LIMITS.grpcStreamsPerConnectionMax,
  // A peer that is gone without a FIN is noticed by pings, also while no call is open.
  'grpc.keepalive_time_ms': 10_000,
  'grpc.keepalive_timeout_ms': 5_000,
  'grpc.keepalive_permit_without_calls': 1,
  // A coordinator that comes back is dialled again at once, not after grpc-js's default of up to two minutes.
  'grpc.initial_reconnect_backoff_ms': 50,
  'grpc.max_reconnect_backoff_ms': 500,
  // We retry by the error table alone; a silent second attempt would hide an unknown outcome.
  'grpc.enable_retries': 0,
  'grpc.enable_http_proxy': 0,
  'grpc.service_config_disable_resolution': 1,
};
